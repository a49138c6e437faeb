"""Manifests of the examples that modalities make of themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bindspace_world.new_modalities import Maker


def write_examples(path: Path, seed: int, events: int, names: Sequence[str]) -> str:
    """Writes a new folder with a manifest of examples of these modalities, and returns it as a source."""
    makers, rows = {name: Maker(name) for name in names}, []
    path.mkdir()
    for number in range(events):
        row = {"id": f"{path.name}-{number}"}
        for name, maker in makers.items():
            made = maker(seed, number, number % 10)
            row[name] = f"{name}{number}.npy" if maker.writes_files else made.cell
            if maker.writes_files:
                (path / row[name]).write_bytes(made.data)
        rows.append(json.dumps(row))
    (path / "manifest.jsonl").write_text("\n".join(rows))
    return f"{{path: {path}}}"

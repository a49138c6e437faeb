"""Small manifests of toy examples, and the settings of a run that takes a second."""

from __future__ import annotations

import json
from pathlib import Path

from bindspace_world.newcomers import Maker

QUICK = [
    "data=manifest", "data.batch=8", "data.workers=0", "trainer.threads=1", "trainer.accelerator=cpu", "logger=csv",
    "trainer.precision=float32", "trainer.progress=false", "trainer.checkpoint_every=3", "benchmark.permutations=20",
]  # fmt: skip


def write(path: Path, seed: int, events: int, names: list[str]) -> str:
    """A manifest of examples of these modalities, as its source."""
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

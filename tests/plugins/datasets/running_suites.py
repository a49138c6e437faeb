"""A small random space, and `suite=imagebind` on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bindspace.cli import main
from bindspace.contract import registry


def random_space(names: Sequence[str], dim: int = 16) -> Path:
    """A space of the plugins' cheap instances, as they come from the random generator, as the folder `space`."""
    from bindspace.ledger.ledger import Ledger
    from bindspace.space.bundle import save
    from bindspace.space.space import Space

    torch.manual_seed(0)
    kinds = {name: registry.load(name) for name in names}
    space = Space(
        {kind.modality: kind(**kind.small) for kind in kinds.values()}, dim, next(iter(kinds.values())).modality
    )
    space.ledger = Ledger.new(dict.fromkeys(space.modalities, "random"))
    return save(space.eval(), "space")


def measured(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of the command, and the rows of its report."""
    code = main(["benchmark", "suite=imagebind", "out=out", "benchmark.permutations=20", *arguments])
    return code, json.loads(Path("out/report.json").read_text())["published"]

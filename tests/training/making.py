"""Small manifests of toy examples, and the settings of a run that takes a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from examples import write_examples

from bindspace.cli import main
from bindspace.contract.errors import UserError
from bindspace.training.callbacks import SaveLast

QUICK = [
    "data=manifest", "data.batch=8", "data.workers=0", "trainer.threads=1", "trainer.accelerator=cpu", "logger=csv",
    "trainer.precision=float32", "trainer.progress=false", "trainer.checkpoint_every=3", "benchmark.permutations=20",
]  # fmt: skip
STAGES = "stages=[{name: a, steps: 6, pairs: [vector-words]},{name: b, steps: 6, pairs: [rest], freeze: [done]}]"


def write_star() -> None:
    """Here: two training sources of different events, and a test that shows all three modalities."""
    for name, seed, names in (("vw", 1, "vector words"), ("vc", 2, "vector curve"), ("test", 3, "vector words curve")):
        write_examples(Path(name), seed, 30, names.split())


def train_star(*more: str, out: str = "run", stages: str = STAGES) -> int:
    """Trains the star round `vector` on what `write_star` wrote; returns the exit code."""
    sources = ["data.train=[{path: vw},{path: vc}]", "data.test=[{path: test}]"]
    chosen = ["modality=[vector,words,curve]", "pivot=vector", "dim=4", stages, f"out={out}"]
    return main(["train", *QUICK, *chosen, *sources, *more])


@contextmanager
def killed_after(saves: int) -> Iterator[list[int]]:
    """Ends a run when it has written so many checkpoints; what it yields are their steps."""
    whole, seen = SaveLast._save, list[int]()

    def save(self, trainer):
        whole(self, trainer)
        seen.append(trainer.global_step)
        if len(seen) == saves:
            raise UserError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SaveLast, "_save", save)
        yield seen

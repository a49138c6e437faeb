"""Batches of a run whose loader workers are started by one method, in a process of its own: `loading.py` FILE.

The file holds, pickled, what `batches` takes after the method's name; the batches take its place.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from pathlib import Path

from bindspace.contract import Source, registry
from bindspace.data import Batch, Manifest
from bindspace.settings import DataSettings, Pair

NAMES = ["image", "text", "audio"]
PAIRS = [Pair(["image", "text"]), Pair(["image", "audio"])]
STEPS = 6


def configs() -> dict:
    """The plugins of the tree, in small."""
    kinds = [registry.load(name) for name in NAMES]
    return {kind.modality: kind(**kind.small) for kind in kinds}


def batches(source: Source | Manifest, workers: int, vectors: dict | None = None) -> list[Batch]:
    """All batches of a run that so many workers make, of training and, without `vectors`, of validation.

    Workers that are not forked import this file, so it imports Lightning here only.
    """
    from bindspace.data.module import BindData

    settings = DataSettings(batch=8, workers=workers, memory_gb=0.1, val_fraction=0.25)
    validation = None if vectors is None else []  # a part of the rows, which have other vectors than all
    data = BindData(configs(), [source], validation, PAIRS, settings, steps=STEPS, seed=3, vectors=vectors)
    return [*data.train_dataloader(), *data.val_dataloader()]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    method, *given = pickle.loads(place.read_bytes())
    multiprocessing.set_start_method(method)
    place.write_bytes(pickle.dumps(batches(*given)))

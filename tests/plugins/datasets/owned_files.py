"""Small files in the layout and the formats of the data sets' owners, and what a benchmark reads of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bindspace.data import Reader, load_pool


def picture(path: Path, array: np.ndarray, **options: Any) -> Path:
    """A picture file of an array (H, W[, 3]), in the format that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def colours(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A picture (H, W, 3) uint8 that no other seed gives."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, content: Any) -> Path:
    """A text file, or JSON of anything else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read_test(dataset: Any, **configs: Any):
    """The pool that a benchmark makes of the test split: every cell is read."""
    sources = dataset.sources([], list(configs))
    assert sources["train"] == sources["val"] == []
    return load_pool(sources["test"], configs, list(configs), Reader(0.1), max_bad_fraction=0.0)

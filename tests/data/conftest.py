"""Toy modalities: `touch` and `heat` are vectors in .npy files, `words` are values. No real plugin takes part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bindspace import BadSample, Cell, ModalityConfig, Source
from bindspace.data.tables import write_manifest


@dataclass(kw_only=True)
class TouchConfig(ModalityConfig):
    modality = "touch"
    expects = "four finite numbers"

    def __post_init__(self) -> None:
        self.read_calls: list[tuple[Any, dict[str, Any]]] = []
        self.prepare_calls: list[tuple[Any, str]] = []

    def read(self, source: Any, info: dict[str, Any]) -> np.ndarray:
        self.read_calls.append((source, dict(info)))
        sample = np.load(source)
        if not np.isfinite(sample).all():
            raise BadSample("expected four finite numbers, got NaN")
        return sample

    def prepare(self, samples: Sequence[np.ndarray], *, seeds=None, augment: str = "weak") -> dict[str, torch.Tensor]:
        assert len(samples)
        self.prepare_calls.append((seeds, augment))
        batch = {"x": torch.from_numpy(np.stack(samples))}
        return batch if seeds is None else {**batch, "seeds": torch.tensor(seeds)}


@dataclass(kw_only=True)
class HeatConfig(TouchConfig):
    modality = "heat"


@dataclass(kw_only=True)
class WordsConfig(ModalityConfig):
    modality = "words"
    expects = "a word or more"
    cell = Cell.value

    def read(self, source: Any, info: dict[str, Any]) -> str:
        if not isinstance(source, str) or not source:
            raise BadSample("expected a word, got none")
        return source

    def prepare(self, samples: Sequence[str], *, seeds=None, augment: str = "weak") -> dict[str, torch.Tensor]:
        return {"x": torch.tensor([[float(len(text)), float(ord(text[0]))] for text in samples])}


@pytest.fixture
def configs() -> dict[str, ModalityConfig]:
    return {"touch": TouchConfig(), "heat": HeatConfig(), "words": WordsConfig()}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Source]:
    """Writes a source of `count` events into a folder of its own: cells of event i hold the number i."""

    def write(name: str = "a", count: int = 20, columns: Sequence[str] = ("touch", "words"), **changes: Any) -> Source:
        root = tmp_path / name
        root.mkdir()
        rows = []
        for i in range(count):
            row: dict[str, Any] = {"id": f"e{i}"}
            for column in columns:
                row[column] = f"{column}/{i}.npy" if column != "words" else f"{name} {i}"
                if column != "words":
                    (root / column).mkdir(exist_ok=True)
                    np.save(root / row[column], np.full(4, i + 1000 * (column == "heat"), np.float32))
            rows.append(row)
        for i, change in changes.pop("rows", {}).items():
            rows[i] |= change
        write_manifest(rows, root / "manifest.jsonl")
        return Source(str(root), **changes)

    return write

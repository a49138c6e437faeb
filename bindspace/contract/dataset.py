"""The contract of a data set plugin, version 1: an entry point in `bindspace.datasets`. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

RESERVED = ("id", "label", "split", "group", "concept")  # manifest columns that are not modalities


class Augment(Enum):
    """Strength of the augmentation of a source's training samples."""

    none = "none"
    weak = "weak"
    strong = "strong"


@dataclass
class Source:
    """One manifest to read from, and how: an item of `data.train`, `data.val`, `data.test`."""

    path: str  # a .jsonl, .csv or .parquet file, or a folder that holds `manifest.*`
    root: str | None = None  # base folder of its paths; None: its own folder
    modalities: list[str] | None = None  # which columns to use; None: all that are selected
    weight: float = 1.0  # share of the batches, relative to the other sources
    batch: int | None = None  # None: the stage's, or data.batch
    augment: Augment = Augment.weak
    where: dict[str, Any] = field(default_factory=dict)  # keep rows whose columns equal these values (or are in a list)
    read: dict[str, dict[str, Any]] = field(default_factory=dict)  # per modality: info passed to `read`
    pool: str = "main"  # test sources with the same name are measured as one pool


@dataclass
class Choice:
    """A multiple-choice probe: rows with one `query` cell and a list of `gallery` cells, the correct one first."""

    name: str
    path: str
    query: str
    gallery: str
    where: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class DatasetConfig:
    """A data set that writes manifests and ordinary files, which are then read like any other data."""

    contract: ClassVar[int] = 1

    root: str = "outputs/data"  # folder that `sources` writes to

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The manifest rows of a split (`train`, `val`, `test`), as they would be written."""
        raise NotImplementedError

    def write(self, out: Path) -> Path:
        """Writes one manifest with its files into `out`, and returns the manifest's path."""
        raise NotImplementedError

    def sources(self, pairs: Sequence[tuple[str, str]], modalities: Sequence[str]) -> dict[str, list[Source]]:
        """The `train`, `val` and `test` sources of a training run over these pairs, written under `root` once."""
        raise NotImplementedError

    def choices(self) -> list[Choice]:
        """Multiple-choice probes with hard distractors, written under `root` once; none by default."""
        return []

    def known(self) -> dict[str, list[str]] | None:
        """The attribute columns that each modality can reveal, for the ceiling of a result; None: unknown."""
        return None

    def templates(self) -> dict[str, list[str]]:
        """Prompt templates by attribute column for zero-shot classification, if the defaults do not fit."""
        return {}

    def classes(self) -> dict[str, list[str]]:
        """All classes of an attribute column, including classes without a row; default: the classes of the rows."""
        return {}

    def names(self) -> dict[str, dict[str, list[str]]]:
        """By attribute column, the names of a class that has several: the class takes the best of their scores."""
        return {}

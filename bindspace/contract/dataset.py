"""The contract of a data set plugin, version 1: an entry point in `bindspace.datasets`. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

RESERVED = ("id", "label", "split", "group", "concept")  # columns of a manifest that are no modality


class Augment(Enum):
    """How much training samples of a source are varied."""

    none = "none"
    weak = "weak"
    strong = "strong"


@dataclass
class Source:
    """One manifest to read from, and how: an item of `data.train`, `data.val`, `data.test`."""

    path: str  # a .jsonl, .csv or .parquet file, or a folder that holds `manifest.*`
    root: str | None = None  # what paths in it are relative to; None: its folder
    modalities: list[str] | None = None  # which columns to use; None: all that are selected
    weight: float = 1.0  # share of the batches, beside the other sources
    batch: int | None = None  # None: the stage's, or data.batch
    augment: Augment = Augment.weak
    where: dict[str, Any] = field(default_factory=dict)  # keep rows whose columns equal these values (or are in a list)
    read: dict[str, dict[str, Any]] = field(default_factory=dict)  # per modality: settings that `read` gets as info
    pool: str = "main"  # test sources of one name are measured as one pool


@dataclass
class Choice:
    """A probe of right against wrong: rows with one cell of `query`, and of `gallery` a list, the right one first."""

    name: str
    path: str
    query: str
    gallery: str
    where: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class DatasetConfig:
    """A data set that can write itself as manifests and ordinary files, which are then read like anybody's data."""

    contract: ClassVar[int] = 1

    root: str = "outputs/data"  # where `sources` keeps what it writes

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The manifest rows of a split (`train`, `val`, `test`), as they would be written."""
        raise NotImplementedError

    def write(self, out: Path) -> Path:
        """Writes one manifest with its files into `out`, and returns the manifest's path."""
        raise NotImplementedError

    def sources(self, pairs: Sequence[tuple[str, str]], modalities: Sequence[str]) -> dict[str, list[Source]]:
        """What a training run over these pairs reads: `train`, `val` and `test` sources, written under `root` once."""
        raise NotImplementedError

    def choices(self) -> list[Choice]:
        """Probes of right answers against tempting ones, written under `root` once; none by default."""
        return []

    def known(self) -> dict[str, list[str]] | None:
        """Which attribute columns each modality can reveal, for the ceiling beside a result; None: not said."""
        return None

    def templates(self) -> dict[str, list[str]]:
        """Prompt templates by attribute column for zero-shot classification, where the defaults do not fit."""
        return {}

    def classes(self) -> dict[str, list[str]]:
        """All classes of an attribute column to choose from, those too that no row has; not said: those of rows."""
        return {}

    def names(self) -> dict[str, dict[str, list[str]]]:
        """By attribute column, the words for a class that has several: its score is that of the best of them."""
        return {}

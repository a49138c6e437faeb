"""From a manifest's cell to a decoded sample and the digest of its content."""

from __future__ import annotations

import hashlib
import json
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindspace.contract import BadSample, Cell, ModalityConfig
from bindspace.data.batch import BadRow
from bindspace.data.fragments import Fragment, canonical, split_fragment
from bindspace.data.manifest import Manifest, cells_of
from bindspace.data.shards import Shards, Stored

GIB = 2**30


@dataclass(frozen=True)
class Medium:
    """One alternative of a cell: the source for `read`, and its media fragment."""

    source: Any  # a Path, a file in a shard, bytes, or a value
    fragment: Fragment = field(default_factory=dict)

    def digest(self, files: dict[Path | Stored, bytes] | None = None) -> bytes:
        """SHA-256 of the content, combined with the fragment if there is one. `files` caches those of whole files."""
        whole = self._file_digest({} if files is None else files) if isinstance(self.source, (Path, Stored)) else None
        whole = whole or hashlib.sha256(_value_bytes(self.source)).digest()
        if not self.fragment:
            return whole
        return hashlib.sha256(whole + b"#" + canonical(self.fragment).encode()).digest()

    def _file_digest(self, files: dict[Path | Stored, bytes]) -> bytes:
        if self.source not in files and isinstance(self.source, Stored):
            files[self.source] = hashlib.sha256(self.source.read_bytes()).digest()
        elif self.source not in files:
            try:
                with self.source.open("rb") as file:
                    files[self.source] = hashlib.file_digest(file, "sha256").digest()
            except OSError as error:
                raise BadSample(f"expected a readable file, got {error.strerror or error}") from error
        return files[self.source]

    def read(self, config: ModalityConfig, info: Mapping[str, Any]) -> Any:
        """The decoded sample. Raises `BadSample` for any error of `read`."""
        source = self.source.read_bytes() if isinstance(self.source, Stored) else self.source
        try:
            return config.read(source, {**info, **self.fragment})
        except (BadSample, MemoryError):
            raise
        except Exception as error:  # decoders may raise anything
            raise BadSample(f"{type(error).__name__}: {error}") from error


def _value_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def open_cell(kind: Cell, cell: Any, root: Path, shards: Shards | None = None) -> Medium:
    """The medium of one alternative of a cell: a file below `root`, or in the shards if there are any.

    Paths never leave `root`. Raises `BadSample`.
    """
    if kind is Cell.value or isinstance(cell, bytes):
        return Medium(cell)
    if not isinstance(cell, str) or not cell:
        raise BadSample(f"expected a path, got {type(cell).__name__} {cell!r}")
    text, fragment = split_fragment(cell)
    return Medium(shards.find(str(Path(text))) if shards else _inside(Path(text), root), fragment)


def _inside(path: Path, root: Path) -> Path:
    if path.is_absolute() or ".." in path.parts:
        raise BadSample(f"expected a path below {root}, got {path}: absolute paths and `..` are refused")
    try:
        if not (root / path).resolve().is_relative_to(_resolved(root)):
            raise BadSample(f"expected a path below {root}, got a link that leads out of it")
        if not (root / path).is_file():
            raise BadSample(f"expected a file, found none at {root / path}")
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, BadSample):
            raise
        raise BadSample(f"expected a path that can be opened, got {str(path)!r} ({error})") from error
    return root / path


@lru_cache(maxsize=64)
def _resolved(root: Path) -> Path:
    return root.resolve()


def read_cell(
    config: ModalityConfig, cell: Any, root: Path, info: Mapping[str, Any] | None = None
) -> tuple[Any, bytes]:
    """Decodes one alternative of a cell: (sample, 32 bytes digest of content and fragment). Raises `BadSample`."""
    medium = open_cell(config.cell, cell, root)
    digest = medium.digest()
    return medium.read(config, info or {}), digest


class Column:
    """All cells of one modality in one manifest, numbered: row after row, alternatives of a row one after the other.

    `offsets` (rows + 1,): the cells of row r are `offsets[r]` up to `offsets[r + 1]`; `row` (cells,): its row.
    """

    def __init__(self, manifest: Manifest, name: str, config: ModalityConfig) -> None:
        lists = cells_of(manifest, name)
        counts = np.array([len(cells) for cells in lists], dtype=np.int64)
        self.manifest, self.name, self.config = manifest, name, config
        self.key = (manifest.key, name, repr(config))
        self.cells = [cell for cells in lists for cell in cells]
        self.counts = counts
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
        self.row = np.repeat(np.arange(len(counts)), counts)
        self._settings = dict(manifest.source.read.get(name, {}))
        self._infos = manifest.infos(name)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def has_info(self) -> bool:
        """Whether `info` is non-empty for some cell."""
        return bool(self._settings or self._infos)

    def info(self, cell: int) -> dict[str, Any]:
        """The source's `read` settings, overridden by the row's `<modality>.<key>` columns."""
        row = self.manifest.rows[self.row[cell]]
        return {**self._settings, **{key: row[column] for column, key in self._infos if column in row}}

    def medium(self, cell: int) -> Medium:
        """The medium of a cell, for `read`. Raises `BadSample`."""
        return open_cell(self.config.cell, self.cells[cell], self.manifest.root, self.manifest.shards)

    def bad_row(self, cell: int, reason: str) -> BadRow:
        """The report of a cell that could not be read."""
        shown = f"{self.cells[cell]}: " if self.config.cell is Cell.path and isinstance(self.cells[cell], str) else ""
        reason = " ".join(f"{shown}{reason}".split())
        return BadRow(str(self.manifest.path), self.manifest.rows[self.row[cell]]["id"], self.name, reason[:1000])


class _Store:
    """The state of a reader for one column."""

    def __init__(self, cells: int) -> None:
        self.digests = np.zeros((cells, 32), dtype=np.uint8)
        self.known = np.zeros(cells, dtype=bool)
        self.refused = np.zeros(cells, dtype=bool)
        self.samples: dict[int, Any] = {}

    def without_samples(self) -> _Store:
        """The same digests, and no decoded samples."""
        store = copy(self)
        store.samples = {}
        return store


class Reader:
    """Reads cells, stores every digest, and caches decoded samples in memory up to `memory_gb`.

    Nothing is evicted: epochs read all samples in turn, so evicting the oldest would always evict the one needed next.
    Cached samples are reused, so `prepare` must not modify them. A copy in another process begins with the digests, and
    with no samples.
    """

    def __init__(self, memory_gb: float = 0.0) -> None:
        self.memory = self.memory_left = int(memory_gb * GIB)
        self._stores: dict[tuple[str, str, str], _Store] = {}
        self._files: dict[Path | Stored, bytes] = {}
        self._bad: list[BadRow] = []

    def __getstate__(self) -> dict[str, Any]:
        """What a loader worker gets where it is not forked: no decoded samples, and no report that is made here."""
        stores = {key: store.without_samples() for key, store in self._stores.items()}
        return {**self.__dict__, "memory_left": self.memory, "_stores": stores, "_bad": []}

    def take_bad(self) -> list[BadRow]:
        """The cells refused since the last call; a cell is reported once."""
        taken, self._bad = self._bad, []
        return taken

    def identify(self, column: Column, cells: np.ndarray) -> np.ndarray:
        """Computes missing digests of cells without decoding them; returns which cells are readable (n,) bool."""
        store = self._store(column)
        for cell in cells[~(store.known[cells] | store.refused[cells])].tolist():
            try:
                store.digests[cell] = np.frombuffer(column.medium(cell).digest(self._files), dtype=np.uint8)
                store.known[cell] = True
            except BadSample as error:
                self.refuse(column, cell, str(error))
        return ~store.refused[cells]

    def read(self, column: Column, cells: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """The decoded samples of the readable cells, and which cells these are (n,) bool."""
        store = self._store(column)
        good = self.identify(column, cells)
        cache = store.samples
        samples = [cache[cell] if cell in cache else self._sample(store, column, cell) for cell in cells[good].tolist()]
        kept = ~store.refused[cells]
        return [sample for sample, had in zip(samples, kept[good]) if had], kept

    def digests(self, column: Column, cells: np.ndarray) -> np.ndarray:
        """The digests (n, 32) uint8 of cells that were identified or read before."""
        store = self._store(column)
        assert store.known[cells].all()
        return store.digests[cells]

    def trust(self, column: Column, digests: np.ndarray) -> None:
        """Adds digests (cells, 32) that were computed before; a row of zeros means unknown."""
        store = self._store(column)
        known = digests.any(1)
        store.digests[known], store.known[known] = digests[known], True

    def refuse(self, column: Column, cell: int, reason: str) -> None:
        """Marks a cell as unreadable, and reports it the first time."""
        store = self._store(column)
        if not store.refused[cell]:
            store.refused[cell] = True
            self._bad.append(column.bad_row(cell, reason))

    def _sample(self, store: _Store, column: Column, cell: int) -> Any:
        try:
            sample = column.medium(cell).read(column.config, column.info(cell))
        except BadSample as error:
            self.refuse(column, cell, str(error))
            return None
        size = size_of(sample)
        if size <= self.memory_left:
            store.samples[cell] = sample
            self.memory_left -= size
        return sample

    def _store(self, column: Column) -> _Store:
        if column.key not in self._stores:
            self._stores[column.key] = _Store(len(column))
        return self._stores[column.key]


def size_of(sample: Any) -> int:
    """Approximate size of a sample in bytes: arrays, tensors, pictures, text, and containers of them."""
    if isinstance(nbytes := getattr(sample, "nbytes", None), int):
        return nbytes + 128
    if isinstance(sample, Mapping):
        return 64 + sum(size_of(value) for value in sample.values())
    if isinstance(sample, (list, tuple)):
        return 64 + sum(size_of(value) for value in sample)
    if hasattr(sample, "getbands"):  # a PIL image
        width, height = sample.size
        return 1024 + width * height * (4 if sample.mode in ("I", "F", "RGB") else len(sample.getbands()))
    if hasattr(sample, "__dict__"):
        return 64 + sum(size_of(value) for value in vars(sample).values())
    return sys.getsizeof(sample)


def evaluation_batches(
    manifest: Manifest, config: ModalityConfig, name: str, batch_size: int, reader: Reader
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Prepares all cells of one modality for evaluation, in order: (cell numbers (n,) int64, what `prepare` returned).

    Cells are numbered as in `Column`: vectors written to `vectors[cell numbers]` of a NaN-filled tensor
    (`len(Column(...))`, dim) are what `TrainBatches` takes under `manifest.key`. Cells that cannot be read are skipped,
    and reported by `reader.take_bad()`.
    """
    column = Column(manifest, name, config)
    for start in range(0, len(column), batch_size):
        cells = np.arange(start, min(start + batch_size, len(column)))
        samples, kept = reader.read(column, cells)
        if samples:
            yield torch.from_numpy(cells[kept]), config.prepare(samples)

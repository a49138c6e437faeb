"""Cached embeddings of a tower by content, on disk and memory-mapped: for training, evaluation and search.

A cache is a folder for one `TowerKey`, which is in `cache.json`. Each process appends to its own file, `*.vectors`, so
that no process changes the data of another. A file is a sequence of blocks; a block holds the entries that were added
at once: 32 bytes of key, `dim` float32, the number of entries left in the block, and in the first entry the CRC-32 of
the block. A partial block of a killed process is detected by its length or its checksum, and skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindspace.contract import UserError
from bindspace.io.files import check_place, write_json
from bindspace.vectors.key import TowerKey

SCHEMA = 1
ABOUT = "cache.json"


def cache_keys(digests: np.ndarray, infos: list[dict[str, Any]] | None = None) -> np.ndarray:
    """The keys (n, 32) uint8 of contents with these digests (n, 32), read with these settings.

    Equal bytes read with other settings are another content.
    """
    keys = digests.copy()
    for row, info in enumerate(infos or [{}] * len(digests)):
        if info:
            text = json.dumps(info, sort_keys=True, default=str)
            hashed = hashlib.sha256(digests[row].tobytes() + text.encode()).digest()
            keys[row] = np.frombuffer(hashed, dtype=np.uint8)
    return keys


class VectorCache:
    """The vectors of one key. `place`: the folder of all caches, or that of this one. Raises `UserError` for a cache
    with another key, that is damaged, or that cannot be written.
    """

    def __init__(self, place: Path, key: TowerKey) -> None:
        self.key = key
        self.folder = _folder(Path(place), key)
        self.entry = np.dtype([("key", "u1", (32,)), ("vector", "<f4", (key.dim,)), ("left", "<u4"), ("check", "<u4")])
        self._parts: list[tuple[Path, int]] = []
        self._own = self.folder / f"{os.getpid()}-{uuid.uuid4().hex[:12]}.vectors"
        self.refresh()

    def __len__(self) -> int:
        return sum(len(block) for block in self._maps)

    def refresh(self) -> None:
        """Loads entries added since, by this process or others."""
        found = [(path, self._whole(path)) for path in sorted(self.folder.glob("*.vectors"))]
        self._map([(path, count) for path, count in found if count])

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Numbers (n,) int64 of the vectors under these keys (n, 32) uint8; -1: none."""
        if not len(self._heads):
            return np.full(len(keys), -1, dtype=np.int64)
        heads = _heads(keys)
        places = np.minimum(np.searchsorted(self._heads, heads), len(self._heads) - 1)
        rows = self._order[places]
        return np.where((self._keys[rows] == keys).all(1), rows, -1)

    def take(self, rows: np.ndarray) -> Tensor:
        """The vectors (n, dim) float32 of these numbers; NaN for -1."""
        found = np.full((len(rows), self.key.dim), np.nan, dtype=np.float32)
        for start, block in zip(self._starts, self._maps):
            here = np.flatnonzero((rows >= start) & (rows < start + len(block)))
            if len(here):
                found[here] = block["vector"][rows[here] - start]
        return torch.from_numpy(found)

    def add(self, keys: np.ndarray, vectors: Tensor) -> None:
        """Appends one block, on disk when this returns; `refresh` makes it visible. Raises `UserError`."""
        block = np.zeros(len(keys), dtype=self.entry)
        block["key"], block["vector"] = keys, vectors.numpy()
        block["left"] = np.arange(len(keys))[::-1]
        block["check"][0] = zlib.crc32(block.tobytes())
        try:
            with self._own.open("ab") as file:
                file.write(block.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"cannot write {self.folder}: {error.strerror or error}: make room, or choose another trainer.cache"
            ) from error

    def _whole(self, path: Path) -> int:
        """The number of entries of a file in complete blocks."""
        size = path.stat().st_size // self.entry.itemsize
        known = dict(self._parts).get(path, 0)
        if size <= known:
            return known
        entries = np.memmap(path, dtype=self.entry, mode="r", shape=(size,))
        while known < size:
            stop = known + int(entries["left"][known]) + 1
            if stop > size:
                break
            block = np.array(entries[known:stop])
            check, block["check"][0] = int(block["check"][0]), 0
            if zlib.crc32(block.tobytes()) != check:
                break
            known = stop
        return known

    def _map(self, parts: list[tuple[Path, int]]) -> None:
        self._parts = parts
        self._maps = [np.memmap(path, dtype=self.entry, mode="r", shape=(count,)) for path, count in parts]
        counts = [count for _, count in parts]
        self._starts = np.concatenate([[0], np.cumsum(counts)])[: len(counts)].astype(np.int64)
        empty = np.zeros((0, 32), dtype=np.uint8)
        self._keys = np.concatenate([empty, *(np.array(block["key"]) for block in self._maps)])
        heads = _heads(self._keys)
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]

    def __getstate__(self) -> dict[str, Any]:
        """State for workers: they map the files again, read-only."""
        return {"key": self.key, "folder": self.folder, "entry": self.entry, "_parts": self._parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map(self._parts)


def _heads(keys: np.ndarray) -> np.ndarray:
    """The first 8 of the 32 bytes, as numbers to sort by."""
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64).ravel()


def _folder(place: Path, key: TowerKey) -> Path:
    """The folder of the key's cache, made if it is not there."""
    given = (place / ABOUT).exists()
    folder = place if given else place / key.name
    if (folder / ABOUT).exists():
        _check(folder, key, given)
        return folder
    check_place(folder)
    write_json(folder / ABOUT, {"schema": SCHEMA, **asdict(key)})
    return folder


def _check(folder: Path, key: TowerKey, given: bool) -> None:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        schema, held = about.pop("schema"), TowerKey(**about)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder / ABOUT} is damaged ({type(error).__name__}): remove {folder}") from error
    if schema != SCHEMA:
        raise UserError(f"{folder} is of another version of bindspace (schema {schema}): remove it")
    other = [name for name, value in asdict(key).items() if value != getattr(held, name)]
    if other:
        hint = "give the folder above it, so that each tower gets a cache of its own" if given else "remove it"
        raise UserError(
            f"{folder} holds vectors of {held.implementation} computed with another {' and '.join(other)} than "
            f"{key.modality} has here, and cannot be used: {hint}"
        )

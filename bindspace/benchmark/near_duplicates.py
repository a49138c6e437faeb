"""Finds near-duplicates of training media in a test pool, by the fingerprints of the modalities' plugins.

Training manifests are read again, so no ledger is needed, and third-party weights can be checked too where their
training data is available.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bindspace.contract import BadSample, ModalityConfig, PluginError, Source, UserError
from bindspace.data import BadRows, Column, Manifest
from bindspace.io.progress import Progress

if TYPE_CHECKING:
    from bindspace.data import Pool

CHUNK = 256  # training media compared at once
FAR = np.iinfo(np.int64).max  # distance where there is nothing to compare with
SHOWN = 20  # near-duplicates that a report names, the nearest first


@dataclass
class Resemblance:
    """One modality of a pool against training media: for each item, the nearest and the distance to it in bits."""

    at_most: int  # bits
    media: int  # of training, compared
    distance: np.ndarray  # (items,) int64
    nearest: list[str] = field(default_factory=list)  # ids of rows

    @property
    def near(self) -> np.ndarray:
        """The items that are near-duplicates or copies: bool (items,)."""
        return self.distance <= self.at_most

    def describe(self, name: str, pool: Pool) -> dict[str, Any]:
        """Plain JSON values for a report."""
        order = np.argsort(self.distance, kind="stable")[: min(SHOWN, int(self.near.sum()))].tolist()
        found = [
            {
                "event": pool.ids[pool.items[name][i].event[0]],
                "training": self.nearest[i],
                "bits": int(self.distance[i]),
            }
            for i in order
        ]
        closest = int(self.distance.min())
        return {
            "near": int(self.near.sum()),
            "of": len(self.distance),
            "at_most_bits": self.at_most,
            "training_media": self.media,
            "closest_bits": None if closest == FAR else closest,
            "found": found,
        }


def find_near(
    pool: Pool,
    sources: Sequence[Source],
    max_bad_fraction: float = 0.01,
    bad: BadRows | None = None,
    progress: bool = True,
) -> dict[str, Resemblance]:
    """Compares the pool's media with those of the sources, for each modality with fingerprints that a source has.

    Raises `UserError` where there is no such modality, or too many cells cannot be read.
    """
    names = [name for name in pool.modalities if has_fingerprints(pool.configs[name])]
    if not names:
        raise UserError(
            f"data.near: none of {', '.join(pool.modalities)} has fingerprints (`fingerprint` of its plugin), so "
            "near-duplicates cannot be found: leave data.near out"
        )
    manifests = [Manifest.load(source, names) for source in sources]
    columns = [Column(each, name, pool.configs[name]) for each in manifests for name in names if each.uses(name)]
    own, found = BadRows(), {}
    offered = [name for name in names if any(column.name == name for column in columns)]
    total = sum(len(column) for column in columns) + sum(len(pool.items[name]) for name in offered)
    with Progress("near", total, shown=progress) as bar:
        for name in offered:
            found[name] = _compare(pool, name, [column for column in columns if column.name == name], own, bar)
    if bad is not None:
        bad.add(own)
        own.listing = bad.listing  # named in errors only: that file also lists cells of the pool
    own.check(sum(len(manifest.rows) for manifest in manifests), max_bad_fraction)
    return found


def has_fingerprints(config: ModalityConfig) -> bool:
    """Whether a plugin defines `fingerprint`."""
    return type(config).fingerprint is not ModalityConfig.fingerprint


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamming distances of (N, bytes) to (M, bytes), both uint8: int64 (N, M)."""
    return np.bitwise_count(a[:, None] ^ b[None]).sum(2, dtype=np.int64)


def _compare(pool: Pool, name: str, columns: Sequence[Column], bad: BadRows, bar: Progress) -> Resemblance:
    config, mine = pool.configs[name], []
    for index in range(len(pool.items[name])):
        mine.append(config.fingerprint(pool.shown(name, index)))
        bar.advance(note=name)
    holds = np.array([each is not None for each in mine])
    rows = _rows(name, [each for each in mine if each is not None])
    result = Resemblance(config.near, 0, np.full(len(mine), FAR), [""] * len(mine))
    for ids, prints in _chunks(columns, bad, bar):
        result.media += len(ids)
        if not len(rows):
            continue
        bits = distances(rows, _rows(name, prints, rows.shape[1]))
        best = bits.argmin(1)
        for item, row, other in zip(np.flatnonzero(holds).tolist(), bits, best.tolist()):
            if row[other] < result.distance[item]:
                result.distance[item], result.nearest[item] = row[other], ids[other]
    return result


def _rows(name: str, prints: Sequence[bytes], size: int | None = None) -> np.ndarray:
    """Fingerprints as uint8 (n, bytes). Raises `PluginError` where their lengths differ."""
    lengths = {len(each) for each in prints} | ({size} if size is not None else set())
    if len(lengths) > 1:
        found = " and ".join(map(str, sorted(lengths)))
        raise PluginError(f"fingerprints of {name}: expected one length, got {found} bytes: tell the plugin's author")
    return np.frombuffer(b"".join(prints), np.uint8).reshape(len(prints), -1 if prints else 0)


def _chunks(columns: Sequence[Column], bad: BadRows, bar: Progress) -> Iterator[tuple[list[str], list[bytes]]]:
    """Yields training media in chunks: the ids of their rows, and their fingerprints."""
    ids: list[str] = []
    prints: list[bytes] = []
    for column in columns:
        for cell in range(len(column)):
            bar.advance(note=column.name)
            try:
                made = column.config.fingerprint(column.medium(cell).read(column.config, column.info(cell)))
            except BadSample as error:
                bad.add([column.bad_row(cell, str(error))])
                continue
            if made is not None:
                ids.append(column.manifest.rows[column.row[cell]]["id"])
                prints.append(made)
            if len(prints) == CHUNK:
                yield ids, prints
                ids, prints = [], []
    if prints:
        yield ids, prints


def near_words(report: Mapping[str, Any]) -> str:
    """A sentence on near-duplicates for a report; empty if they were not searched for."""
    parts = [
        f"{name} {each['near']} of {each['of']} (at most {each['at_most_bits']} bits from one of "
        f"{each['training_media']:,} in training)"
        for name, each in report.get("near", {}).items()
    ]
    return f"Near-duplicates of training media: {'; '.join(parts)}." if parts else ""

"""Reference vectors: embeddings of training cells by a frozen tower, compared with rows of another modality."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindspace.contract import UserError
from bindspace.data import BadRows, Column, Manifest, Reader, cells_of
from bindspace.ledger.observer import Reference
from bindspace.space import Space
from bindspace.training.hardware import device_of
from bindspace.training.ranks import first_rank_first
from bindspace.training.session import Session
from bindspace.vectors import cache_vectors


@dataclass
class References:
    """M cells of one modality: unit vectors, digests of their contents, and to which events they belong.

    `sources`: SHA-256 of the manifests. `owned` (n, 2) int64: hashes of what makes an event the same (its id, its
    group, its pivot's content), each with the number of a cell that is such an event's.
    """

    name: str
    z_MD: Tensor
    digests_M32: np.ndarray
    sources: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    owned: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @property
    def as_recorded(self) -> Reference:
        """What the ledger is told of them."""
        return Reference(self.name, self.digests_M32, self.sources, self.groups)

    def on(self, device: torch.device) -> Tensor:
        """The vectors, moved to a device."""
        self.z_MD = self.z_MD.to(device)
        return self.z_MD

    @staticmethod
    def owners(
        ids: Sequence[str], groups: Sequence[str | None], pivots: tuple[np.ndarray, np.ndarray] | None
    ) -> np.ndarray:
        """int64 (3 B,): hashes of the id, the group and the pivot's content of each event, 0 where it has none.

        `pivots`: digests (n, 32), and of which events they are (n,).
        """
        found = np.zeros((len(ids), 3), np.int64)
        found[:, 0] = [_hash("id", name) for name in ids]
        for position, group in enumerate(groups):
            found[position, 1] = 0 if group is None else _hash("group", group)
        if pivots is not None:
            found[pivots[1], 2] = [_hash("pivot", row.tobytes()) for row in pivots[0]]
        return found.ravel()

    def disjoint_from(self, owners: np.ndarray, count: int) -> np.ndarray:
        """The first `count` cells (0: all) that belong to none of these events. Raises `UserError` for too few."""
        kept = np.ones(len(self.z_MD), dtype=bool)
        kept[self.owned[np.isin(self.owned[:, 0], owners[owners != 0]), 1]] = False
        found = np.flatnonzero(kept)[: count or None]
        if len(found) < 2:
            raise UserError(
                f"of {len(kept)} reference vectors of {self.name} {len(found)} belong to no event of the batch, and 2 "
                f"are needed: add events that hold {self.name}, or make data.batch smaller"
            )
        return found


def _hash(kind: str, value: str | bytes) -> int:
    data = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.sha256(kind.encode() + b":" + data).digest()[:8], "little", signed=True)


def find_references(
    space: Space,
    name: str,
    manifests: Sequence[Manifest],
    bad: BadRows,
    place: Path,
    *,
    count: int,
    seed: int,
    shown: bool = True,
) -> References:
    """The vectors of `count` cells of a modality (0: all), drawn by the seed from events that hold the pivot too.

    They are read from the caches in `place`; missing ones are computed. Cells that cannot be read are left out and
    added to `bad`. The tower has to stay frozen.
    """
    chosen = drawn(manifests, name, space.pivot, count, seed)
    vectors = cache_vectors(space, [name], chosen, bad, place, shown=shown).get(name, {})
    found, parts, digests = References(name, torch.empty(0, space.dim), np.empty((0, 32), np.uint8)), [], []
    owned: list[tuple[int, int]] = []
    total, reader = 0, Reader()
    for manifest in chosen:
        cached = vectors[manifest.key]
        z_nD = cached.look_up(np.arange(len(cached)))
        had = np.flatnonzero(~z_nD.isnan().any(1).numpy())
        rows = Column(manifest, name, space.configs[name]).row[had]
        pivots = dict(_pivots(space, manifest, reader))
        for number, row in enumerate(rows.tolist(), start=total):
            owned += [(owner, number) for owner in _owners(manifest.rows[row], pivots.get(row, []))]
        found.groups += [str(row["group"]) for row in manifest.rows if "group" in row]
        parts.append(z_nD[torch.from_numpy(had)])
        digests.append(cached.digests.numpy()[had])
        found.sources.append(manifest.sha256)
        total += len(had)
    found.z_MD, found.digests_M32 = torch.cat([found.z_MD, *parts]), np.concatenate([found.digests_M32, *digests])
    found.owned = np.array(owned, np.int64).reshape(-1, 2)
    return found


def references_of(session: Session, name: str, count: int) -> References:
    """References of a run. Raises `UserError` for fewer than two that can be read."""
    run, space = session.run, session.space.to(device_of(session.run))
    options: dict[str, Any] = {"count": count, "seed": run.seed, "shown": run.trainer.progress}
    with first_rank_first():
        found = find_references(space, name, session.events.train, session.bad, session.cache, **options)
    space.cpu()  # Lightning moves it where it trains
    if len(found.z_MD) < 2:
        raise UserError(
            f"expected 2 or more readable reference vectors of {name} in data.train, got {len(found.z_MD)}: add events "
            f"that hold {run.pivot} and {name}"
        )
    return found


def drawn(manifests: Sequence[Manifest], name: str, pivot: str, count: int, seed: int) -> list[Manifest]:
    """The sources that offer both modalities, with their drawn cells of `name` only, and the rows that hold these."""
    held = [manifest for manifest in manifests if manifest.uses(name) and manifest.uses(pivot)]
    places = [
        (number, row, cell)
        for number, manifest in enumerate(held)
        for row, (cells, pivots) in enumerate(zip(cells_of(manifest, name), cells_of(manifest, pivot)))
        for cell in (cells if pivots else [])
    ]
    if 0 < count < len(places):
        order = np.random.default_rng([seed, count]).permutation(len(places))[:count]
        places = [places[i] for i in np.sort(order).tolist()]
    kept: list[dict[int, list[Any]]] = [{} for _ in held]
    for number, row, cell in places:
        kept[number].setdefault(row, []).append(cell)
    return [
        replace(
            manifest,
            rows=[{**manifest.rows[row], name: cells} for row, cells in by_row.items()],
            key=f"{manifest.key}!references",
        )
        for manifest, by_row in zip(held, kept)
        if by_row
    ]


def _owners(row: dict[str, Any], pivots: Iterable[bytes]) -> Iterator[int]:
    yield _hash("id", row["id"])
    if "group" in row:
        yield _hash("group", str(row["group"]))
    for digest in pivots:
        yield _hash("pivot", digest)


def _pivots(space: Space, manifest: Manifest, reader: Reader) -> Iterator[tuple[int, list[bytes]]]:
    """By row, the digests of the pivot's readable cells."""
    column = Column(manifest, space.pivot, space.configs[space.pivot])
    cells = np.arange(len(column))
    cells = cells[reader.identify(column, cells)]
    found: dict[int, list[bytes]] = {}
    for row, digest in zip(column.row[cells].tolist(), reader.digests(column, cells)):
        found.setdefault(row, []).append(digest.tobytes())
    yield from found.items()

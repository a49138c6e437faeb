"""Landmarks: vectors of a modality that stands still, by which rows of another are placed without being paired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindspace.contract import UserError
from bindspace.data import BadRows, Column, Manifest, Reader, cells_of
from bindspace.space import Space
from bindspace.training.hardware import device_of
from bindspace.training.ranks import first_rank_first
from bindspace.training.session import Session
from bindspace.vectors import cache_vectors

Owner = tuple[str, Any]  # ("id", an event's), ("group", its name), or ("pivot", a digest)


@dataclass
class Landmarks:
    """M cells of one modality: unit vectors, digests of their contents, and to which events they belong.

    `sources`: SHA-256 of the manifests. `owned`: by owner, the landmarks that a row with the same one may not use.
    """

    name: str
    z_MD: Tensor
    digests_M32: np.ndarray
    sources: list[str] = field(default_factory=list)
    owned: dict[Owner, list[int]] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """The groups of their events."""
        return [name for kind, name in self.owned if kind == "group"]

    def on(self, device: torch.device) -> Tensor:
        """The vectors on a device, where they stay."""
        self.z_MD = self.z_MD.to(device)
        return self.z_MD

    def excluded(self, ids: Sequence[str], groups: Sequence[str | None], pivots_B32: Tensor) -> Tensor | None:
        """(B, M) bool on the CPU: landmarks of the row's own event, known by its id, its group, or the content of its
        pivot; None where there are none.
        """
        pivots = [row.tobytes() for row in pivots_B32.cpu().numpy()]
        found = [
            (row, self.owned[owner])
            for row, owners in enumerate(zip(ids, groups, pivots, strict=True))
            for owner in zip(("id", "group", "pivot"), owners)
            if owner in self.owned
        ]
        if not found:
            return None
        mask_BM = torch.zeros(len(ids), len(self.z_MD), dtype=torch.bool)
        for row, own in found:
            mask_BM[row, own] = True
        return mask_BM


def find_landmarks(
    space: Space,
    name: str,
    manifests: Sequence[Manifest],
    bad: BadRows,
    place: Path,
    *,
    count: int,
    seed: int,
    shown: bool = True,
) -> Landmarks:
    """The vectors of `count` cells of a modality (0: all), drawn by the seed from events that hold the pivot too.

    They are taken from the caches in `place`, and what these lack is added. Cells that cannot be read are left out and
    added to `bad`. The tower has to stand still from here on.
    """
    chosen = drawn(manifests, name, space.pivot, count, seed)
    vectors = cache_vectors(space, [name], chosen, bad, place, shown=shown).get(name, {})
    found, parts, digests = Landmarks(name, torch.empty(0, space.dim), np.empty((0, 32), np.uint8)), [], []
    total, reader = 0, Reader()
    for manifest in chosen:
        cached = vectors[manifest.key]
        z_nD = cached.look_up(np.arange(len(cached)))
        had = np.flatnonzero(~z_nD.isnan().any(1).numpy())
        rows = Column(manifest, name, space.configs[name]).row[had]
        for number, row in enumerate(rows.tolist(), start=total):
            for owner in _owners(manifest, row):
                found.owned.setdefault(owner, []).append(number)
        for row, digest in _pivots(space, manifest, reader):
            numbers = (total + np.flatnonzero(rows == row)).tolist()
            found.owned.setdefault(("pivot", digest), []).extend(numbers)
        parts.append(z_nD[torch.from_numpy(had)])
        digests.append(cached.digests.numpy()[had])
        found.sources.append(manifest.sha256)
        total += len(had)
    found.z_MD, found.digests_M32 = torch.cat([found.z_MD, *parts]), np.concatenate([found.digests_M32, *digests])
    return found


def landmarks_of(session: Session, name: str, count: int) -> Landmarks:
    """Landmarks of a run. Raises `UserError` for fewer than two that can be read."""
    run, space = session.run, session.space.to(device_of(session.run))
    options: dict[str, Any] = {"count": count, "seed": run.seed, "shown": run.trainer.progress}
    with first_rank_first():
        found = find_landmarks(space, name, session.events.train, session.bad, session.cache, **options)
    space.cpu()  # Lightning moves it where it trains
    if len(found.z_MD) < 2:
        raise UserError(
            f"{len(found.z_MD)} landmarks of {name} can be read in data.train, which place nothing: add events that "
            f"hold {run.pivot} and {name}"
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
            key=f"{manifest.key}!landmarks",
        )
        for manifest, by_row in zip(held, kept)
        if by_row
    ]


def _owners(manifest: Manifest, row: int) -> Iterator[Owner]:
    yield "id", manifest.rows[row]["id"]
    if "group" in manifest.rows[row]:
        yield "group", str(manifest.rows[row]["group"])


def _pivots(space: Space, manifest: Manifest, reader: Reader) -> Iterator[tuple[int, bytes]]:
    """The digest of each pivot cell that can be had, with its row."""
    column = Column(manifest, space.pivot, space.configs[space.pivot])
    cells = np.arange(len(column))
    cells = cells[reader.identify(column, cells)]
    yield from zip(column.row[cells].tolist(), map(bytes, reader.digests(column, cells)))

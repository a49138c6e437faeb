"""The emergent benchmark: every ordered pair of modalities on one matched pool, with intervals and controls."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindspace.benchmark.cell import Kept, Recalls, Side, ceiling, clean, measure_cell, provenance, recalls
from bindspace.benchmark.galleries import slices
from bindspace.benchmark.near_duplicates import Resemblance
from bindspace.benchmark.overlap import Overlap
from bindspace.benchmark.prompting import expand
from bindspace.benchmark.protocol import describe, primary
from bindspace.benchmark.tasks.composed import composed
from bindspace.benchmark.tasks.controls import control_rows
from bindspace.benchmark.tasks.gap import gap_of
from bindspace.benchmark.tasks.probe import probes
from bindspace.benchmark.tasks.zero_shot import class_columns, is_multi_label, measure_zero_shot
from bindspace.contract import UserError, unknown
from bindspace.io.progress import Progress
from bindspace.metrics import Permutations, holm
from bindspace.settings import BenchmarkSettings
from bindspace.vectors import VectorCache, embed_items, open_caches

if TYPE_CHECKING:
    from bindspace.data import Pool
    from bindspace.space import Space

SCHEMA = 1
TRAINED = ("trained", "declared-trained")
EMERGENT = ("emergent", "declared-emergent", "bridged")  # never trained as a pair, but linked: Holm's family


def run_benchmark(
    space: Space,
    pool: Pool,
    settings: BenchmarkSettings,
    *,
    name: str = "",
    untrained: Space | None = None,
    known: Mapping[str, Sequence[str]] | None = None,
    kept: Kept | None = None,
    progress: bool = True,
    cache: Path | None = None,
    near: Mapping[str, Resemblance] | None = None,
) -> dict[str, Any]:
    """Measures a space on a pool and returns the report (schema 1) as plain JSON values.

    `name`: the name of the space in the report. `untrained`: a fresh space of the same configs, as a baseline.
    `known`: the attribute columns that a modality can reveal, for the ceiling. `kept`: filled with vectors and ranks.
    `cache`: a folder for cached embeddings of the space. `near`: near-duplicates, as `find_near` returns them.
    Raises `UserError` where the pool is empty, has fewer than two of the space's modalities, or vectors are not finite.
    """
    check_settings(settings)
    settings = replace(settings, templates=expand(settings.templates))
    modalities = choose_modalities(space, pool, settings)
    columns = class_columns(pool, settings.zero_shot)
    class_columns(pool, settings.slices)  # reports a typo before anything is embedded
    permutations = Permutations(settings.permutations, settings.seed)
    caches = open_caches(space, modalities, cache)
    sides = embed_pool(space, pool, modalities, settings.batch_size, progress=progress, caches=caches)
    fresh = embed_pool(untrained, pool, modalities, settings.batch_size, "untrained", progress) if untrained else None
    kept = Kept() if kept is None else kept
    kept.sides.update(sides)
    overlap = Overlap(space, pool, near)
    cells, k = [], sorted(set(settings.k))
    with Progress("measure", len(modalities) * (len(modalities) - 1), shown=progress) as bar:
        for a, b in itertools.permutations(modalities, 2):
            cell, rank = measure_cell(sides[a], sides[b], settings, permutations)
            cell |= provenance(space, overlap, a, b) | clean(sides[a], sides[b], overlap, cell)
            if fresh is not None:
                cell["untrained"] = recalls(fresh[a], fresh[b], k)
            if known is not None:
                cell["ceiling"] = ceiling(sides[a], sides[b], pool, known, k)
            kept.ranks[f"{a}>{b}"] = torch.stack([rank, sides[a].clusters])
            cells.append(cell)
            bar.advance()
    _adjust(cells)
    _add_legs(cells, space, str(primary(k)))
    measured = {(cell["query"], cell["gallery"]): cell["recall"] for cell in cells}
    vectors = {side.name: side.vectors for side in sides.values()}
    clusters = {side.name: side.clusters for side in sides.values()}
    return {
        "schema": SCHEMA,
        "protocol": describe(pool, modalities, columns, settings),
        "system": system_of(space, name),
        "pairs": cells,
        "zero_shot": measure_zero_shot(space, pool, vectors, clusters, settings, permutations),
        "gap": [gap_of(sides[a], sides[b], k, measured) for a, b in itertools.combinations(modalities, 2)],
        **_further(kept, pool, columns, space.pivot, settings, measured),
        **({} if near is None else {"near": {each: found.describe(each, pool) for each, found in near.items()}}),
        "ledger": space.ledger.summary() if space.ledger else {},
    }


def _further(
    kept: Kept,
    pool: Pool,
    columns: Sequence[str],
    pivot: str,
    settings: BenchmarkSettings,
    measured: Recalls,
) -> dict[str, list[dict[str, Any]]]:
    """The optional parts of a report that have rows."""
    single = [column for column in columns if not is_multi_label(pool.attributes[column])]
    found = {
        "slices": list(_slices(kept, pool, settings)),
        "composed": composed(kept.sides, sorted(set(settings.k)), settings.seed) if settings.composed else [],
        "controls": list(control_rows(kept.sides, pool, pivot, single, settings, measured)),
        "probes": probes(kept.sides, pool, single, settings) if settings.shots else [],
    }
    return {key: rows for key, rows in found.items() if rows}


def _slices(kept: Kept, pool: Pool, settings: BenchmarkSettings) -> Iterator[dict[str, Any]]:
    """Recall of each pair's queries by the value of an attribute column."""
    columns = {column: pool.attributes[column] for column in class_columns(pool, settings.slices)}
    for a, b in itertools.permutations(kept.sides, 2):
        rank, side = kept.ranks[f"{a}>{b}"][0], kept.sides[a]
        for part in slices(rank, side.clusters, side.events, columns, primary(settings.k), settings.seed):
            yield {"query": a, "gallery": b, **part}


def check_settings(settings: BenchmarkSettings) -> None:
    """Raises `UserError` for an invalid k or number of permutations."""
    if not settings.k or any(k < 1 for k in settings.k):
        raise UserError(
            f"benchmark.k: expected whole numbers from 1 on, got {list(settings.k)}: try benchmark.k=[1,5,10]"
        )
    if settings.permutations < 1:
        raise UserError(f"benchmark.permutations: expected 1 or more, got {settings.permutations}: 10000 is usual")


def choose_modalities(space: Space, pool: Pool, settings: BenchmarkSettings) -> list[str]:
    """The modalities to measure: those of `settings`, or all that space and pool share, in the space's order."""
    if not pool.ids:
        raise UserError(
            "expected a pool of events that hold every modality, got none: choose fewer benchmark.modalities"
        )
    shared = [name for name in space.modalities if name in pool.items]
    for name in settings.modalities or []:
        if name not in shared:
            raise UserError(unknown("modality of both the space and the pool", name, shared))
    chosen = [name for name in shared if settings.modalities is None or name in settings.modalities]
    if len(chosen) < 2:
        raise UserError(f"a benchmark needs two modalities or more, got {chosen}: the space holds {space.modalities}")
    return chosen


def embed_pool(
    space: Space,
    pool: Pool,
    modalities: Sequence[str],
    batch_size: int,
    note: str = "",
    progress: bool = True,
    caches: Mapping[str, VectorCache] | None = None,
) -> dict[str, Side]:
    """Embeds each distinct content of each modality once. Raises `UserError` for vectors that are not finite."""
    sides = {}
    with Progress(f"embed {note}".strip(), sum(len(pool.items[name]) for name in modalities), shown=progress) as bar:
        for name in modalities:
            parts = []
            for part in embed_items(space, pool, name, batch_size, caches):
                parts.append(part)
                bar.advance(len(part), note=name)
            sides[name] = _side(name, torch.cat(parts), pool)
    return sides


def _side(name: str, vectors: Tensor, pool: Pool) -> Side:
    events = [list(item.event) for item in pool.items[name]]
    assert len(vectors) == len(events), f"{name}: {len(vectors)} vectors for {len(events)} items"
    broken = int((~torch.isfinite(vectors).all(dim=1)).sum())
    if broken:
        raise UserError(
            f"{name}: {broken} of {len(vectors)} vectors hold NaN or infinity: the space cannot be measured"
        )
    return Side(name, vectors, events, _clusters(events, pool.groups))


def _clusters(events: Sequence[Sequence[int]], groups: Sequence[str | None]) -> Tensor:
    """The cluster of each item: the group of its first event, or that event if it has no group."""
    numbers: dict[tuple[str, Any], int] = {}
    keys = [("group", groups[each[0]]) if groups[each[0]] is not None else ("event", each[0]) for each in events]
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys])


def _adjust(cells: list[dict[str, Any]]) -> None:
    """Holm's correction over the pairs that were never trained; the others make no claim."""
    family = [cell for cell in cells if cell["status"] in EMERGENT]
    for cell in cells:
        cell["p_holm"] = None
    for cell, adjusted in zip(family, holm([cell["p"] for cell in family]), strict=True):
        cell["p_holm"] = adjusted


def _add_legs(cells: list[dict[str, Any]], space: Space, k: str) -> None:
    """Recall of each directed trained leg on every shortest path; None if the pool lacks one of its sides."""
    recall = {(cell["query"], cell["gallery"]): cell["recall"][k] for cell in cells}
    for cell in cells:
        paths = space.ledger.legs(cell["query"], cell["gallery"]) if space.ledger else []
        cell["legs"] = [[[a, b, recall.get((a, b))] for a, b in itertools.pairwise(path)] for path in paths]


def system_of(space: Space, name: str) -> dict[str, Any]:
    """The `system` part of a report: the space, its plugins, the versions."""
    kinds = {each: f"{type(config).__module__}:{type(config).__qualname__}" for each, config in space.configs.items()}
    versions = {"bindspace": version("bindspace"), "torch": torch.__version__, "python": platform.python_version()}
    return {"space": name, "pivot": space.pivot, "dim": space.dim, "modalities": kinds, "versions": versions}

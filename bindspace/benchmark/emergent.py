"""The emergent benchmark: every ordered pair of modalities on one matched pool, and how far to believe each number."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindspace.benchmark import gap, retrieval
from bindspace.benchmark.ceiling import attribute_ceiling
from bindspace.benchmark.intervals import holm, share_interval
from bindspace.benchmark.overlap import Overlap, restrict
from bindspace.benchmark.permutation import Permutations, pairing_test
from bindspace.benchmark.protocol import describe, primary
from bindspace.benchmark.zero_shot import class_columns, measure_zero_shot
from bindspace.errors import UserError, unknown
from bindspace.progress import Progress
from bindspace.settings import BenchmarkSettings
from bindspace.vector_cache import VectorCache, embed_items, open_caches

if TYPE_CHECKING:
    from bindspace.data.pool import Pool
    from bindspace.space import Space

SCHEMA = 1
TRAINED = ("trained", "declared-trained")
EMERGENT = ("emergent", "declared-emergent", "bridged")  # never paired, but linked: Holm's family


@dataclass(frozen=True)
class Side:
    """One modality of the pool, embedded: vectors (N, D), and by item the events and the cluster it belongs to."""

    name: str
    vectors: Tensor
    events: list[list[int]]
    clusters: Tensor


def run_benchmark(
    space: Space,
    pool: Pool,
    settings: BenchmarkSettings,
    *,
    name: str = "",
    untrained: Space | None = None,
    known: Mapping[str, Sequence[str]] | None = None,
    progress: bool = True,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Measures a space on a pool and returns the report (schema 1) as plain JSON values.

    `name`: what the space is called in the report. `untrained`: a freshly initialised space of the same configs, to
    measure beside it. `known`: which attribute columns a modality can know, for the ceiling. `cache`: a folder where
    the space's vectors are kept for the next time. Raises `UserError` where the pool is empty, has fewer than two of
    the space's modalities, or the space yields vectors that are not finite.
    """
    check_settings(settings)
    modalities = choose_modalities(space, pool, settings)
    columns = class_columns(pool, settings.zero_shot)
    permutations = Permutations(settings.permutations, settings.seed)
    caches = open_caches(space, modalities, cache)
    sides = embed_pool(space, pool, modalities, settings.batch_size, progress=progress, caches=caches)
    fresh = embed_pool(untrained, pool, modalities, settings.batch_size, "untrained", progress) if untrained else None
    overlap = Overlap(space, pool)
    cells = []
    with Progress("measure", len(modalities) * (len(modalities) - 1), shown=progress) as bar:
        for a, b in itertools.permutations(modalities, 2):
            cell = measure_cell(sides[a], sides[b], settings, permutations)
            cell |= provenance(space, overlap, a, b) | _clean(sides[a], sides[b], overlap, cell)
            if fresh is not None:
                cell["untrained"] = _recalls(fresh[a], fresh[b], sorted(set(settings.k)))
            if known is not None:
                cell["ceiling"] = _ceiling(sides[a], sides[b], pool, known, sorted(set(settings.k)))
            cells.append(cell)
            bar.advance()
    _adjust(cells)
    _add_legs(cells, space, str(primary(settings.k)))
    vectors = {side.name: side.vectors for side in sides.values()}
    clusters = {side.name: side.clusters for side in sides.values()}
    return {
        "schema": SCHEMA,
        "protocol": describe(pool, modalities, columns, settings),
        "system": _system(space, name),
        "pairs": cells,
        "zero_shot": measure_zero_shot(space, pool, vectors, clusters, settings, permutations),
        "gap": [_gap(sides[a], sides[b]) for a, b in itertools.combinations(modalities, 2)],
        "ledger": space.ledger.summary() if space.ledger else {},
    }


def check_settings(settings: BenchmarkSettings) -> None:
    """Raises `UserError` for a k or a number of permutations that cannot be."""
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
    """By item, a number of the group of its first event, or of that event where it has no group."""
    numbers: dict[tuple[str, Any], int] = {}
    keys = [("group", groups[each[0]]) if groups[each[0]] is not None else ("event", each[0]) for each in events]
    return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys])


def measure_cell(query: Side, gallery: Side, settings: BenchmarkSettings, permutations: Permutations) -> dict[str, Any]:
    """One ordered pair: recall with interval, chance and shuffled control, p, median rank and mAP@10."""
    k = sorted(set(settings.k))
    positives = retrieval.match(query.events, gallery.events)
    positions = retrieval.positions(query.vectors, gallery.vectors, positives)
    rank = positions[:, 0]
    shuffled = pairing_test(query.vectors, gallery.vectors, query.events, gallery.events, k, permutations)
    total = len(gallery.events)
    return {
        "query": query.name,
        "gallery": gallery.name,
        "n": len(query.events),
        "gallery_size": total,
        "recall": {str(each): retrieval.recall(rank, each) for each in k},
        "ci95": {str(each): list(share_interval(rank <= each, query.clusters, seed=settings.seed)) for each in k},
        "chance": {str(each): retrieval.chance(positives, total, each) for each in k},
        "shuffled": {str(each): shuffled.mean[each] for each in k},
        "shuffled95": {str(each): list(shuffled.central95[each]) for each in k},
        "p": shuffled.p[primary(k)],
        "permutations": shuffled.permutations,
        "median_rank": retrieval.median_rank(rank),
        "map10": retrieval.mean_average_precision(positions, positives),
    }


def provenance(space: Space, overlap: Overlap, a: str, b: str) -> dict[str, Any]:
    """What the ledger says of a pair; None and `unknown` where it says nothing."""
    ledger = space.ledger
    return {
        "status": ledger.status(a, b) if ledger else "unknown",
        "overlap": overlap.counts(a, b),
        "bridge": ledger.bridge(a, b) if ledger else None,
        "unpaired_steps": ledger.unpaired_steps(a, b) if ledger else None,
        "shaped_by": ledger.shaped_by(a, b) if ledger else None,
        "selected_on": list(ledger.selected_on) if ledger else None,
    }


def _recalls(query: Side, gallery: Side, k: Sequence[int]) -> dict[str, float]:
    rank = retrieval.ranks(query.vectors, gallery.vectors, retrieval.match(query.events, gallery.events))
    return {str(each): retrieval.recall(rank, each) for each in k}


def _clean(query: Side, gallery: Side, overlap: Overlap, cell: Mapping[str, Any]) -> dict[str, Any]:
    """Recall without the events that overlap with training, on the gallery left; None where nothing is known."""
    keep = overlap.clean_events(query.name, gallery.name)
    if keep is None or not any(keep):
        return {"recall_clean": None, "clean": None if keep is None else {"n": 0, "gallery_size": 0}}
    if all(keep):
        return {"recall_clean": dict(cell["recall"]), "clean": {"n": cell["n"], "gallery_size": cell["gallery_size"]}}
    left = [_restricted(side, keep) for side in (query, gallery)]
    sizes = {"n": len(left[0].events), "gallery_size": len(left[1].events)}
    return {"recall_clean": _recalls(left[0], left[1], [int(k) for k in cell["recall"]]), "clean": sizes}


def _restricted(side: Side, keep: Sequence[bool]) -> Side:
    rows, events = restrict(side.events, keep)
    return Side(side.name, side.vectors[rows], events, side.clusters[rows])


def _ceiling(
    query: Side, gallery: Side, pool: Pool, known: Mapping[str, Sequence[str]], k: Sequence[int]
) -> dict[str, float] | None:
    """None where nothing is said of what a side can know."""
    if query.name not in known or gallery.name not in known:
        return None
    columns = [pool.attributes[name] for name in known[query.name] if name in known[gallery.name]]
    reached = attribute_ceiling(query.events, gallery.events, columns, k)
    return {str(each): reached[each] for each in k}


def _adjust(cells: list[dict[str, Any]]) -> None:
    """Holm over the pairs that were never trained; the others have no claim to correct."""
    family = [cell for cell in cells if cell["status"] in EMERGENT]
    for cell in cells:
        cell["p_holm"] = None
    for cell, adjusted in zip(family, holm([cell["p"] for cell in family]), strict=True):
        cell["p_holm"] = adjusted


def _add_legs(cells: list[dict[str, Any]], space: Space, k: str) -> None:
    """Recall of each directed trained leg on every shortest path; None where the pool lacks one of its sides."""
    recall = {(cell["query"], cell["gallery"]): cell["recall"][k] for cell in cells}
    for cell in cells:
        paths = space.ledger.legs(cell["query"], cell["gallery"]) if space.ledger else []
        cell["legs"] = [[[a, b, recall.get((a, b))] for a, b in itertools.pairwise(path)] for path in paths]


def _gap(a: Side, b: Side) -> dict[str, Any]:
    """`uniformity` is the mean of the two modalities' own."""
    own = [gap.uniformity(side.vectors) for side in (a, b)]
    known = [value for value in own if value is not None]
    return {
        "pair": [a.name, b.name],
        "centroid_distance": gap.centroid_distance(a.vectors, b.vectors),
        "alignment": gap.alignment(a.vectors, b.vectors, retrieval.match(a.events, b.events)),
        "uniformity": sum(known) / len(known) if known else None,
    }


def _system(space: Space, name: str) -> dict[str, Any]:
    kinds = {each: f"{type(config).__module__}:{type(config).__qualname__}" for each, config in space.configs.items()}
    versions = {"bindspace": version("bindspace"), "torch": torch.__version__, "python": platform.python_version()}
    return {"space": name, "pivot": space.pivot, "dim": space.dim, "modalities": kinds, "versions": versions}

"""One ordered pair of modalities: recall with interval, chance, controls, p-value and overlap with training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bindspace.benchmark import galleries as pools
from bindspace.benchmark.overlap import Overlap, restrict
from bindspace.benchmark.protocol import primary
from bindspace.benchmark.tasks.ceiling import attribute_ceiling
from bindspace.metrics import Permutations, pairing_test, retrieval, share_interval
from bindspace.settings import BenchmarkSettings

if TYPE_CHECKING:
    from bindspace.data import Pool
    from bindspace.space import Space


Recalls = Mapping[tuple[str, str], Mapping[str, float]]  # (query, gallery) -> k -> measured recall


@dataclass(frozen=True)
class Side:
    """One modality of the pool, embedded: vectors (N, D), and by item the events and the cluster it belongs to."""

    name: str
    vectors: Tensor
    events: list[list[int]]
    clusters: Tensor


@dataclass
class Kept:
    """By-products of a measurement: vectors by modality, and the ranks of each cell's queries.

    `ranks`: by `query>gallery` the rank and the cluster of each query, int64 (2, N), for paired comparisons.
    """

    sides: dict[str, Side] = field(default_factory=dict)
    ranks: dict[str, Tensor] = field(default_factory=dict)


def measure_cell(
    query: Side, gallery: Side, settings: BenchmarkSettings, permutations: Permutations
) -> tuple[dict[str, Any], Tensor]:
    """One ordered pair: recall, interval, chance, shuffled control, p, median rank and mAP@10; and its ranks (N,)."""
    k = sorted(set(settings.k))
    positives = retrieval.match(query.events, gallery.events)
    positions = retrieval.positions(query.vectors, gallery.vectors, positives)
    rank = positions[:, 0]
    shuffled = pairing_test(query.vectors, gallery.vectors, query.events, gallery.events, k, permutations)
    total = len(gallery.events)
    cell = {
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
        "recall_any": pools.recall_any(rank, query.events, k),
        "by_pool_size": pools.by_size(rank, positives.count_N, total, settings.pool_sizes, k),
    }
    return cell, rank


def provenance(space: Space, overlap: Overlap, a: str, b: str) -> dict[str, Any]:
    """What the ledger records of a pair; None and `unknown` without a record."""
    ledger = space.ledger
    return {
        "status": ledger.status(a, b) if ledger else "unknown",
        "overlap": overlap.counts(a, b),
        "bridge": ledger.bridge(a, b) if ledger else None,
        "unpaired_steps": ledger.unpaired_steps(a, b) if ledger else None,
        "shaped_by": ledger.shaped_by(a, b) if ledger else None,
        "selected_on": list(ledger.selected_on) if ledger else None,
        "declared": ledger.declared_of(a, b) if ledger else None,
    }


def recalls(query: Side, gallery: Side, k: Sequence[int]) -> dict[str, float]:
    """Recall by k."""
    rank = retrieval.ranks(query.vectors, gallery.vectors, retrieval.match(query.events, gallery.events))
    return {str(each): retrieval.recall(rank, each) for each in k}


def clean(query: Side, gallery: Side, overlap: Overlap, cell: Mapping[str, Any]) -> dict[str, Any]:
    """Recall without the events that overlap with training, on the remaining gallery; None if overlap is unknown."""
    keep = overlap.clean_events(query.name, gallery.name)
    if keep is None or not any(keep):
        return {"recall_clean": None, "clean": None if keep is None else {"n": 0, "gallery_size": 0}}
    if all(keep):
        return {"recall_clean": dict(cell["recall"]), "clean": {"n": cell["n"], "gallery_size": cell["gallery_size"]}}
    left = [_restricted(side, keep) for side in (query, gallery)]
    sizes = {"n": len(left[0].events), "gallery_size": len(left[1].events)}
    return {"recall_clean": recalls(left[0], left[1], [int(k) for k in cell["recall"]]), "clean": sizes}


def _restricted(side: Side, keep: Sequence[bool]) -> Side:
    rows, events = restrict(side.events, keep)
    return Side(side.name, side.vectors[rows], events, side.clusters[rows])


def ceiling(
    query: Side, gallery: Side, pool: Pool, known: Mapping[str, Sequence[str]], k: Sequence[int]
) -> dict[str, float] | None:
    """Recall that the shared attributes allow, by k.

    None where a side's attributes are not listed, or where the two sides share no attribute: columns may depend on
    each other, so chance would be too low.
    """
    if query.name not in known or gallery.name not in known:
        return None
    values = {**pool.attributes, "concept": pool.concepts}
    columns = [values[name] for name in known[query.name] if name in known[gallery.name]]
    if not columns and known[query.name] and known[gallery.name]:
        return None
    reached = attribute_ceiling(query.events, gallery.events, columns, k)
    return {str(each): reached[each] for each in k}

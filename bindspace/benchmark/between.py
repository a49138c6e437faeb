"""What is measured of two or three modalities beyond one ranking: the gap, composed queries, and controls on demand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.benchmark import controls, gap, retrieval
from bindspace.benchmark.cell import Side, recalls
from bindspace.benchmark.intervals import share_interval
from bindspace.benchmark.probe import linear_probe
from bindspace.benchmark.zero_shot import labels_of
from bindspace.settings import BenchmarkSettings, Control

if TYPE_CHECKING:
    from bindspace.data.pool import Pool


Recalls = Mapping[tuple[str, str], Mapping[str, float]]  # (query, gallery) -> k -> recall, as measured for the cells


def gap_of(a: Side, b: Side, k: Sequence[int], measured: Recalls) -> dict[str, Any]:
    """Where two modalities lie to each other. `uniformity` is the mean of their own; `centred` what recall would be
    after taking each modality's mean off, which is reported here and applied nowhere."""
    own = [gap.uniformity(side.vectors) for side in (a, b)]
    known = [value for value in own if value is not None]
    moved = [replace(side, vectors=gap.centred(side.vectors)) for side in (a, b)]
    forth, back = measured[a.name, b.name], measured[b.name, a.name]
    return {
        "pair": [a.name, b.name],
        "centroid_distance": gap.centroid_distance(a.vectors, b.vectors),
        "alignment": gap.alignment(a.vectors, b.vectors, retrieval.match(a.events, b.events)),
        "uniformity": sum(known) / len(known) if known else None,
        "own_neighbours": gap.own_share(a.vectors, b.vectors),
        "own_by_chance": _own_by_chance(len(a.events), len(b.events)),
        "asymmetry": {each: forth[each] - back[each] for each in forth},
        "centred": [recalls(moved[0], moved[1], k), recalls(moved[1], moved[0], k)],
    }


def _own_by_chance(a: int, b: int) -> float:
    """Share of an item's possible neighbours that are of its own modality, over the items of both."""
    return (a * (a - 1) + b * (b - 1)) / ((a + b) * (a + b - 1))


def composed(sides: Mapping[str, Side], k: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Two modalities of an event ask together: the sum of their unit vectors, normalised, beside each by itself.

    One query an event; an event with several items of a modality is their mean, so that a list of captions asks once.
    """
    cells = []
    for gallery in sides:
        for a, b in itertools.combinations([name for name in sides if name != gallery], 2):
            one, two = by_event(sides[a]), by_event(sides[b])
            sum_ = replace(one, name=f"{a} + {b}", vectors=F.normalize(one.vectors + two.vectors, dim=1))
            rank = retrieval.ranks(
                sum_.vectors, sides[gallery].vectors, retrieval.match(sum_.events, sides[gallery].events)
            )
            cells.append(
                {
                    "query": [a, b],
                    "gallery": gallery,
                    "n": len(sum_.events),
                    "recall": {str(each): retrieval.recall(rank, each) for each in k},
                    "ci95": {str(each): list(share_interval(rank <= each, sum_.clusters, seed=seed)) for each in k},
                    "alone": [recalls(one, sides[gallery], k), recalls(two, sides[gallery], k)],
                }
            )
    return cells


def by_event(side: Side) -> Side:
    """One item an event: the normalised mean of the event's items."""
    item, event = retrieval.incidence(side.events)
    count = int(event.max()) + 1
    sums = torch.zeros(count, side.vectors.shape[1]).index_add(0, event, side.vectors[item])
    first = torch.zeros(count, dtype=torch.int64).scatter_reduce(0, event, item, "amin", include_self=False)
    return Side(side.name, F.normalize(sums, dim=1), [[each] for each in range(count)], side.clusters[first])


def control_rows(
    sides: Mapping[str, Side],
    pool: Pool,
    pivot: str,
    columns: Sequence[str],
    settings: BenchmarkSettings,
    measured: Recalls,
) -> Iterator[dict[str, Any]]:
    """The controls that `settings.controls` asks for, one row for each ordered pair and variant."""
    k = sorted(set(settings.k))
    for a, b in itertools.permutations(sides, 2):
        query, gallery = sides[a], sides[b]
        pair = {"query": a, "gallery": b, "recall": measured[a, b]}
        if Control.within_label in settings.controls and columns:
            labels = {column: pool.attributes[column] for column in columns}
            found = controls.within_label(query.vectors, gallery.vectors, query.events, gallery.events, labels, k)
            yield from (
                {**pair, "control": "within_label", "by": name, "value": value} for name, value in found.items()
            )
        if Control.two_hop in settings.controls and pivot in sides and pivot not in (a, b):
            ways = [(side.vectors, side.events) for side in (query, sides[pivot], gallery)]
            yield {**pair, "control": "two_hop", "by": pivot, "value": controls.two_hop(ways[0], ways[1], ways[2], k)}
        if Control.stand_in in settings.controls:
            for cue, numbers in cues_of(pool, a).items():
                value = controls.stand_in(numbers, query.vectors, query.events, gallery.vectors, gallery.events, k)
                yield {**pair, "control": "stand_in", "by": cue, "value": value}


def cues_of(pool: Pool, name: str) -> dict[str, Tensor]:
    """What the plugin tells of each item by plain numbers (`ModalityConfig.cues`): float64 (N,) by name."""
    found = [pool.configs[name].cues(pool.shown(name, index)) for index in range(len(pool.items[name]))]
    names = [cue for cue in found[0] if all(cue in each for each in found)]
    return {cue: torch.tensor([float(each[cue]) for each in found], dtype=torch.float64) for cue in names}


def probes(
    sides: Mapping[str, Side], pool: Pool, columns: Sequence[str], settings: BenchmarkSettings
) -> list[dict[str, Any]]:
    """Few-shot linear probes of each modality on each single-label attribute column."""
    cells = []
    for column in columns:
        for name, side in sides.items():
            rows, labels = labels_of(side.events, pool.attributes[column])
            classes = sorted(set(labels))
            if len(classes) < 2:
                continue
            code = torch.tensor([classes.index(label) for label in labels])
            found = linear_probe(side.vectors[rows], code, side.clusters[rows], settings.shots, seed=settings.seed)
            cells += [{"modality": name, "attribute": column, **cell} for cell in found]
    return cells

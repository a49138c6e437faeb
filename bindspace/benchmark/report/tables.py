"""Further tables of report.md: zero-shot, composed queries, controls, probes, slices, pool sizes, modality gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bindspace.benchmark.report.formatting import interval, percent, table

Row = Mapping[str, Any]


def further_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Every table that has rows in this report, each under its heading."""
    k = str(report["protocol"]["primary_k"])
    for heading, header, rows in _tables(report, k):
        lines = list(rows)
        if lines:
            yield from ("", f"### {heading}", "", *table(header, lines))


def _tables(report: Mapping[str, Any], k: str) -> Iterator[tuple[str, Sequence[str], Iterable[Sequence[str]]]]:
    single = [cell for cell in report["zero_shot"] if "accuracy" in cell]
    several = [cell for cell in report["zero_shot"] if "map" in cell]
    yield "Zero-shot classification", ZERO_SHOT, map(_zero_shot, single)
    yield "Multi-label zero-shot classification", MULTI_LABEL, map(_multi_label, several)
    asked = [cell for cell in report["pairs"] if cell.get("recall_any")]
    yield (
        "Several queries per event",
        ["query → gallery", f"R@{k} per query", f"R@{k} of any query of the event"],
        ([_pair(cell), percent(cell["recall"][k]), percent(cell["recall_any"][k])] for cell in asked),
    )
    sizes = sorted({int(size) for cell in report["pairs"] for size in cell.get("by_pool_size", {})})
    yield (
        f"Expected R@{k} in smaller galleries",
        ["query → gallery", *map(str, sizes), "all"],
        (
            [_pair(cell), *(_at(cell, size, k) for size in sizes), percent(cell["recall"][k])]
            for cell in (report["pairs"] if sizes else [])
        ),
    )
    yield (
        "Composed queries",
        ["query → gallery", f"R@{k}", "95 %", "first modality alone", "second modality alone"],
        (_composed(cell, k) for cell in report.get("composed", [])),
    )
    yield (
        "Controls",
        ["control", "variant", "query → gallery", f"R@{k} of the control", f"R@{k}"],
        (_control(cell, k) for cell in _strongest(report.get("controls", []), k)),
    )
    yield (
        "Multiple choice (hard distractors)",
        ["probe", "query → gallery", "n", "accuracy", "95 %", "chance"],
        (_choice(cell) for cell in report.get("choices", [])),
    )
    yield "Linear probes", PROBES, map(_probe, report.get("probes", []))
    yield (
        f"R@{k} by attribute",
        ["attribute", "value", "query → gallery", "n", f"R@{k}", "95 %"],
        (
            [
                cell["attribute"],
                cell["value"],
                _pair(cell),
                str(cell["n"]),
                percent(cell["recall"]),
                interval(cell["ci95"]),
            ]
            for cell in report.get("slices", [])
        ),
    )
    yield (
        "Modality gap",
        [*GAP, f"R@{k}(A to B) - R@{k}(B to A)", f"R@{k} after centring, A to B / B to A"],
        (_gap(cell, k) for cell in report["gap"]),
    )


ZERO_SHOT = [
    "modality", "attribute", "status", "classes", "n", "accuracy", "95 %", "top 5", "balanced", "chance",
    "permuted labels, 95 %",
]  # fmt: skip
MULTI_LABEL = ["modality", "attribute", "status", "classes", "n", "mAP", "95 %", "chance", "permuted, 95 %"]
PROBES = [
    "modality", "attribute", "shots per class", "n", "accuracy", "std over draws", "95 %", "chance", "majority class",
]  # fmt: skip
GAP = [
    "pair A–B", "centroid distance", "alignment", "uniformity", "same-modality neighbour rate", "expected under mixing",
]  # fmt: skip


def _pair(cell: Row) -> str:
    return f"{cell['query']} → {cell['gallery']}"


def _at(cell: Row, size: int, k: str) -> str:
    found = cell["by_pool_size"].get(str(size), {}).get(k)
    return "" if found is None else percent(found)


def _zero_shot(cell: Row) -> list[str]:
    top5 = cell.get("top5")
    return [
        cell["modality"],
        cell["attribute"],
        cell["status"],
        str(cell["classes"]),
        str(cell["n"]),
        percent(cell["accuracy"]),
        interval(cell["ci95"]),
        "" if top5 is None else percent(top5),
        percent(cell["balanced"]),
        percent(cell["chance"]),
        interval(cell["control95"]),
    ]


def _multi_label(cell: Row) -> list[str]:
    head = [cell["modality"], cell["attribute"], cell["status"], str(cell["classes"]), str(cell["n"])]
    return [*head, percent(cell["map"]), interval(cell["ci95"]), percent(cell["chance"]), interval(cell["control95"])]


def _composed(cell: Row, k: str) -> list[str]:
    alone = [percent(each[k]) for each in cell["alone"]]
    pair = f"{' + '.join(cell['query'])} → {cell['gallery']}"
    return [pair, percent(cell["recall"][k]), interval(cell["ci95"][k]), *alone]


def _choice(cell: Row) -> list[str]:
    results = [percent(cell["accuracy"]), interval(cell["ci95"]), percent(cell["chance"])]
    return [cell["probe"], _pair(cell), str(cell["n"]), *results]


def _strongest(controls: Sequence[Row], k: str) -> list[Row]:
    """The strongest variant of each control of a pair; report.json holds all variants."""
    best: dict[tuple[str, str], Row] = {}
    for cell in controls:
        key = (cell["control"], _pair(cell))
        if key not in best or cell["value"][k] > best[key]["value"][k]:
            best[key] = cell
    return [best[key] for key in sorted(best)]


def _control(cell: Row, k: str) -> list[str]:
    return [cell["control"], cell["by"], _pair(cell), percent(cell["value"][k]), percent(cell["recall"][k])]


def _probe(cell: Row) -> list[str]:
    return [
        cell["modality"],
        cell["attribute"],
        "all" if cell["shots"] == 0 else str(cell["shots"]),
        str(cell["n"]),
        percent(cell["accuracy"]),
        "" if cell["spread"] is None else percent(cell["spread"]),
        interval(cell["ci95"]),
        percent(cell["chance"]),
        percent(cell["majority"]),
    ]


def _gap(cell: Row, k: str) -> list[str]:
    values = [cell["centroid_distance"], cell["alignment"], cell["uniformity"]]
    shares = [percent(cell["own_neighbours"]), percent(cell["own_by_chance"])]
    forward, backward = (percent(each[k]) for each in cell["centred"])
    numbers = ["" if value is None else f"{value:.2f}" for value in values]
    return ["–".join(cell["pair"]), *numbers, *shares, f"{100 * cell['asymmetry'][k]:+.1f}", f"{forward} / {backward}"]

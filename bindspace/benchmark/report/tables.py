"""The further tables of report.md: classes, composed queries, controls, probes, slices, pool sizes, the gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bindspace.benchmark.report.formatting import interval, percent, table

Row = Mapping[str, Any]


def further_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Every table that the report has rows for, each under its heading."""
    k = str(report["protocol"]["primary_k"])
    for heading, header, rows in _tables(report, k):
        lines = list(rows)
        if lines:
            yield from ("", f"### {heading}", "", *table(header, lines))


def _tables(report: Mapping[str, Any], k: str) -> Iterator[tuple[str, Sequence[str], Iterable[Sequence[str]]]]:
    single = [cell for cell in report["zero_shot"] if "accuracy" in cell]
    several = [cell for cell in report["zero_shot"] if "map" in cell]
    yield "Zero-shot classification", ZERO_SHOT, map(_zero_shot, single)
    yield "Zero-shot with several labels", SEVERAL, map(_several, several)
    asked = [cell for cell in report["pairs"] if cell.get("recall_any")]
    yield (
        "Several queries an event",
        ["query → gallery", f"R@{k} of each", f"R@{k} of any"],
        ([_pair(cell), percent(cell["recall"][k]), percent(cell["recall_any"][k])] for cell in asked),
    )
    sizes = sorted({int(size) for cell in report["pairs"] for size in cell.get("by_pool_size", {})})
    yield (
        f"R@{k} expected in smaller galleries",
        ["query → gallery", *map(str, sizes), "all"],
        (
            [_pair(cell), *(_at(cell, size, k) for size in sizes), percent(cell["recall"][k])]
            for cell in (report["pairs"] if sizes else [])
        ),
    )
    yield (
        "Two modalities together",
        ["query → gallery", f"R@{k}", "95 %", "first alone", "second alone"],
        (_composed(cell, k) for cell in report.get("composed", [])),
    )
    yield (
        "Controls",
        ["control", "by", "query → gallery", f"R@{k} of the control", f"R@{k}"],
        (_control(cell, k) for cell in _nearest(report.get("controls", []), k)),
    )
    yield (
        "Right against wrong",
        ["probe", "query → gallery", "n", "right", "95 %", "chance"],
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
        "Gap between modalities",
        [*GAP, f"R@{k} there less back", f"R@{k} if centred"],
        (_gap(cell, k) for cell in report["gap"]),
    )


ZERO_SHOT = [
    "modality", "attribute", "status", "classes", "n", "accuracy", "95 %", "top 5", "balanced", "chance",
    "permuted labels, 95 %",
]  # fmt: skip
SEVERAL = ["modality", "attribute", "status", "classes", "n", "mAP", "95 %", "chance", "permuted, 95 %"]
PROBES = ["modality", "attribute", "examples a class", "n", "accuracy", "± over draws", "95 %", "chance", "majority"]
GAP = ["pair", "distance of centroids", "alignment", "uniformity", "neighbours of own kind", "if mixed"]


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


def _several(cell: Row) -> list[str]:
    head = [cell["modality"], cell["attribute"], cell["status"], str(cell["classes"]), str(cell["n"])]
    return [*head, percent(cell["map"]), interval(cell["ci95"]), percent(cell["chance"]), interval(cell["control95"])]


def _composed(cell: Row, k: str) -> list[str]:
    alone = [percent(each[k]) for each in cell["alone"]]
    asks = f"{' + '.join(cell['query'])} → {cell['gallery']}"
    return [asks, percent(cell["recall"][k]), interval(cell["ci95"][k]), *alone]


def _choice(cell: Row) -> list[str]:
    figures = [percent(cell["accuracy"]), interval(cell["ci95"]), percent(cell["chance"])]
    return [cell["probe"], _pair(cell), str(cell["n"]), *figures]


def _nearest(controls: Sequence[Row], k: str) -> list[Row]:
    """Of each control of a pair the variant that comes nearest to the recall; report.json holds all."""
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
    there, back = (percent(each[k]) for each in cell["centred"])
    numbers = ["" if value is None else f"{value:.2f}" for value in values]
    return ["–".join(cell["pair"]), *numbers, *shares, f"{100 * cell['asymmetry'][k]:+.1f}", f"{there} / {back}"]

"""From the kept lines to tables and plots: means over seeds, their intervals, ratios to the supervised reference."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from plan import Recipe
from plots import draw_levers, draw_pivot
from runs import POOL, lines
from scipy.stats import t as student

HEAD = "# Tables of the emergence experiments\n\nWritten by `make emergence` from the lines beside this file.\n"
COLUMNS = ["recipe", "seeds", "pool", "R@1 a→t, t→a", "R@10 a→t, t→a", "ratio R@1", "ratio R@10", "CPU-s"]
POOLS = (("main", "500"), ("main", "1000"), ("held_out", "500"), ("held_out", "1000"))
CELLS = ("audio>text", "text>audio")


def draw(home: Path, recipes: dict[str, Recipe]) -> None:
    """Writes tables.md and the plots into `home`, from the lines of recipes as they are now."""
    explored = grouped(lines(home / "explore.jsonl"), recipes)
    measured = grouped(lines(home / "runs.jsonl"), recipes)
    home.mkdir(parents=True, exist_ok=True)
    tests, vals = test_table(measured, recipes), val_table(explored, recipes)
    parts = [HEAD, "## Test pools\n", *tests, "\n## Validation\n", *vals]
    (home / "tables.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    draw_levers(explored, recipes, home / "levers.png")
    draw_pivot(explored, recipes, home / "pivot.png")
    print(home / "tables.md")


def grouped(found: Any, recipes: dict[str, Recipe]) -> dict[str, list[dict[str, Any]]]:
    """Lines by recipe, without those of recipes that have changed since."""
    groups: dict[str, list[dict[str, Any]]] = {name: [] for name in recipes}
    for line in found:
        if line["recipe"] in recipes and line["key"] == recipes[line["recipe"]].key:
            groups[line["recipe"]].append(line)
    return {name: sorted(group, key=lambda line: line["seed"]) for name, group in groups.items() if group}


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and the 95 % interval of the mean over seeds (Student's t); without an interval (nan) for one seed."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def recall(line: dict[str, Any], pool: str, cell: str, size: str, k: str) -> float:
    """One result of a line."""
    return float(line["pools"][pool][cell]["recall"][size][k])


def ratios(group: list[dict[str, Any]], reference: list[dict[str, Any]], *where: str) -> list[float]:
    """Of each seed that both have, one recall over the reference's."""
    by_seed = {line["seed"]: line for line in reference}
    return [recall(line, *where) / recall(by_seed[line["seed"]], *where) for line in group if line["seed"] in by_seed]


def percent(values: list[float]) -> str:
    """Mean in percent, with the half width of its interval."""
    mean, low, high = interval(values)
    return f"{100 * mean:.1f}" + ("" if math.isnan(low) else f" ±{50 * (high - low):.1f}")


def share(values: list[float]) -> str:
    """Mean of ratios with its interval."""
    if not values:
        return ""
    mean, low, high = interval(values)
    return f"{mean:.3f}" + ("" if math.isnan(low) else f" ({low:.3f} to {high:.3f})")


def test_table(measured: dict[str, list[dict[str, Any]]], recipes: dict[str, Recipe]) -> list[str]:
    """Recall of audio with text by pool, and the ratio to the reference of the same seeds."""
    rows = table_head(COLUMNS)
    for name, group in measured.items():
        reference = measured.get(recipes[name].over, [])
        if not all(cell in group[0]["pools"]["main"] for cell in CELLS):
            continue
        for pool, size in POOLS:
            at = [[(pool, cell, size, k) for cell in CELLS] for k in ("1", "10")]
            results = [", ".join(percent([recall(line, *each) for line in group]) for each in both) for both in at]
            over = [", ".join(share(ratios(group, reference, *each)) for each in both) for both in at]
            cost = f"{statistics.fmean(line['cpu_s'] for line in group):.0f}"
            shown = f"{'seen' if pool == 'main' else 'held out'}, {size}"
            rows.append(table_row([name, str(len(group)), shown, *results, *over, cost]))
    if limits := measured.get(Recipe.over):
        rows += [limit_row(kind, pool, limits[0]) for kind in ("ceiling", "chance") for pool in ("main", "held_out")]
    return rows


def limit_row(kind: str, pool: str, line: dict[str, Any]) -> str:
    """The ceiling of the shared attributes (`ceiling`), or chance level (`chance`), in the whole pool."""
    results = [", ".join(percent([line["pools"][pool][cell][kind][k]]) for cell in CELLS) for k in ("1", "10")]
    return table_row([kind, "", f"{'seen' if pool == 'main' else 'held out'}, {POOL}", *results, "", "", ""])


def table_head(columns: list[str]) -> list[str]:
    """The first two lines of a table."""
    return [table_row(columns), table_row(["---"] * len(columns))]


def table_row(cells: list[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def val_table(explored: dict[str, list[dict[str, Any]]], recipes: dict[str, Recipe]) -> list[str]:
    """Results of recipes on 1,000 validation events and on 500 of held-out combinations: mean of both directions."""
    metrics = ("audio-text/r1", "audio-text/r10", "audio-image/r10", "image-text/r10")
    unseen = ("audio-text/r10", "audio-image/r10", "image-text/r10")
    rows = table_head(["recipe", "what", "seeds", *metrics, *(f"new {metric}" for metric in unseen), "CPU-s"])
    for name, group in explored.items():
        cells = []
        for part, keys in (("val", [f"val/{metric}" for metric in metrics]), ("new_combinations", unseen)):
            for key in keys:
                values = [line[part][key] for line in group if key in line[part]]
                cells.append(percent(values) if values else "")
        cost = statistics.fmean(line["cpu_s"] for line in group)
        rows.append(table_row([name, recipes[name].about, str(len(group)), *cells, f"{cost:.0f}"]))
    return rows

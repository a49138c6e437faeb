"""The table of README.md and docs/emergence.md, written into both from the kept lines."""

from __future__ import annotations

import statistics
from pathlib import Path

from plan import Recipe
from plots import Groups
from tables import CELLS, interval, ratios, recall, table_head, table_row

from bindspace.io.files import write_text

BEGIN, END = "<!-- `make emergence` writes this table -->\n", "<!-- until here -->\n"
WHERE = [
    (pool, cell, size) for pool, size in (("main", "500"), ("main", "1000"), ("held_out", "500")) for cell in CELLS
]


def write_summary(paths: list[Path], measured: Groups, recipes: dict[str, Recipe]) -> None:
    """Puts the table between the two marks of each file. Raises ValueError for a file without them."""
    table = "\n".join(summary(measured, recipes))
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if text.count(BEGIN) != 1 or text.count(END) != 1:
            raise ValueError(f"{path}: expected one line {BEGIN.strip()!r} and one {END.strip()!r}, around the table")
        before, rest = text.split(BEGIN)
        write_text(path, f"{before}{BEGIN}{table}\n{END}{rest.split(END)[1]}")


def summary(measured: Groups, recipes: dict[str, Recipe]) -> list[str]:
    """R@10 of audio with text, and its ratio to the reference: a line for each recipe that has a `row`."""
    columns = [
        f"{'new: ' if pool == 'held_out' else ''}{' → '.join(cell.split('>'))}, {int(size):,}"
        for pool, cell, size in WHERE
    ]
    rows = table_head(["R@10 in %, and ratio to the reference (95 %)", *columns, "CPU-s"])
    for name, recipe in recipes.items():
        if recipe.row and name in measured:
            results = [_result(recipe, measured, *where) for where in WHERE]
            cost = statistics.fmean(line["cpu_s"] for line in measured[name])
            rows.append(table_row([recipe.row, *results, f"{cost:,.0f}"]))
    limits = measured[Recipe.over][0]["pools"]
    # The ceiling is that of the whole pool: a part of it cannot have a lower one.
    both = [f"{100 * limits[pool][cell]['ceiling']['10']:.0f}, {1000 / int(size):.0f}" for pool, cell, size in WHERE]
    return [*rows, table_row(["ceiling, chance", *both, ""])]


def _result(recipe: Recipe, measured: Groups, *where: str) -> str:
    """Mean R@10 in %, with the ratio to its reference and the interval, except for the reference itself."""
    mean = f"{100 * statistics.fmean(recall(line, *where, '10') for line in measured[recipe.name]):.1f}"
    if recipe.name == recipe.over:
        return mean
    over = ratios(measured[recipe.name], measured[recipe.over], *where, "10")
    ratio, low, high = (f"{end:.3f}".removeprefix("0") for end in interval(over))
    return f"{mean}: {ratio} ({low}–{high})"

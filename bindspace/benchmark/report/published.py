"""Formats the table of published results: published and measured values, intervals, and reasons for blank rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bindspace.benchmark.report.formatting import interval, percent, table

if TYPE_CHECKING:
    from rich.console import Console

HEADER = ["data set", "task", "metric", "published", "ours", "95 %", "chance", "n", "missing", "status"]
READ = """\
In %. Published: the result of the source below. Ours: this space on the files that are available; `missing` counts the
events of the data set whose files are absent: with missing events, the result does not follow the published protocol.
n: samples that were classified, or queries. 95 % intervals are conditional on these weights. Status: what the ledger
records of the two modalities."""


def render_markdown(report: Mapping[str, Any]) -> str:
    """The table for people and papers, as GitHub markdown."""
    system, cells = report["system"], report["published"]
    lines = [
        "# Published results",
        "",
        f"Space `{system['space']}`, pivot {system['pivot']}, {system['dim']} dimensions, bindspace "
        f"{system['versions']['bindspace']}.",
        "",
        *table(HEADER, map(_row, cells)),
    ]
    if blank := list(_blank(cells)):
        lines += ["", "## Blank rows", "", *(f"* {line}" for line in blank)]
    sources = dict.fromkeys(cell["source"] for cell in cells)
    return "\n".join([*lines, "", "## How to read it", "", READ, "", *(f"* {source}" for source in sources), ""])


def print_table(report: Mapping[str, Any], console: Console) -> None:
    """Prints the table, and below it the reasons for blank rows."""
    from rich.table import Table

    columns = HEADER if console.width >= 110 else [name for name in HEADER if name not in ("95 %", "n", "status")]
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for number, heading in enumerate(columns):
        shown.add_column(heading, justify="left" if number < 3 else "right", no_wrap=True)
    for cell in report["published"]:
        row = dict(zip(HEADER, _row(cell), strict=True))
        shown.add_row(*(row[heading] for heading in columns), style="dim" if cell["blank"] else "")
    console.print(shown)
    for line in _blank(report["published"]):
        console.print(f"blank: {line}", highlight=False, markup=False, soft_wrap=True)


def _row(cell: Mapping[str, Any]) -> list[str]:
    theirs = [cell["dataset"], f"{cell['query']} → {cell['gallery']}", cell["metric"], percent(cell["published"])]
    if cell["blank"]:
        return [*theirs, *[""] * (len(HEADER) - len(theirs))]
    results = [percent(cell["ours"]), interval(cell["ci95"]), percent(cell["chance"])]
    return [*theirs, *results, str(cell["n"]), str(cell["left_out"]), cell["status"]]


def _blank(cells: list[Mapping[str, Any]]) -> Iterator[str]:
    """Reasons for blank rows, one line for each reason of a task."""
    tasks = ((cell, f"{cell['dataset']}, {cell['query']} → {cell['gallery']}") for cell in cells if cell["blank"])
    yield from dict.fromkeys(f"{task}: {'failed: ' if cell['failed'] else ''}{cell['blank']}" for cell, task in tasks)

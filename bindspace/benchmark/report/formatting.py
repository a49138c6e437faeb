"""Formats shares, intervals and tables for reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a GitHub table: the first column left-aligned, the others right-aligned."""
    ruler = ["---", *("---:" for _ in header[1:])]
    return ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in (header, ruler, *rows)]


def percent(share: float) -> str:
    """A share in percent, to a tenth."""
    return f"{100 * share:.1f}"


def interval(ends: Sequence[float]) -> str:
    """Two shares in percent, from low to high."""
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def beside_status(report: Mapping[str, Any]) -> str:
    """Details from the ledger that the statuses do not show, per pair and overall; empty if there are none."""
    cells = {"-".join(sorted((cell["query"], cell["gallery"]))): cell for cell in report["pairs"]}  # without direction
    found = [f"{pair}: {', '.join(words)}" for pair, cell in cells.items() if (words := list(_told(cell)))]
    chose = dict.fromkeys(metric for cell in cells.values() for metric in cell["selected_on"] or [])
    found += [f"selected on {', '.join(chose)}"] if chose else []
    return f"Also in the ledger: {'; '.join(found)}." if found else ""


def _told(cell: Mapping[str, Any]) -> Iterator[str]:
    if cell["unpaired_steps"]:
        yield f"unpaired steps {cell['unpaired_steps']}"
    if cell["shaped_by"]:
        yield f"shaped by {', '.join(cell['shaped_by'])}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

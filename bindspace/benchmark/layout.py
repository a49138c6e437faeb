"""How reports write a share, an interval and a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a GitHub table: the first column to the left, the others to the right."""
    ruler = ["---", *("---:" for _ in header[1:])]
    return ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in (header, ruler, *rows)]


def percent(share: float) -> str:
    """A share in percent, to a tenth."""
    return f"{100 * share:.1f}"


def interval(ends: Sequence[float]) -> str:
    """Two shares in percent, from low to high."""
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

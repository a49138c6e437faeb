"""Records rows that could not be read: counts and lists them, and stops the run if there are too many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from bindspace.contract import UserError
from bindspace.data.batch import BadRow
from bindspace.io.files import write_text

LISTING = "bad_rows.jsonl"  # the file's usual name


class BadRows:
    """Collects `BadRow`s; duplicates from several workers count once. `listing`: a file that lists them."""

    def __init__(self, listing: Path | None = None) -> None:
        self.listing = listing
        self._rows: dict[tuple[str, str, str], BadRow] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[BadRow]:
        return iter(self._rows.values())

    def add(self, rows: Iterable[BadRow]) -> None:
        """Adds reports, the first of each cell, and lists them."""
        known = len(self)
        for row in rows:
            self._rows.setdefault((row.source, row.id, row.modality), row)
        if self.listing is not None and len(self) > known:
            self.write(self.listing)

    def check(self, total_rows: int, max_fraction: float) -> None:
        """Raises `UserError` if more than `max_fraction` of the rows are bad."""
        events = {(row.source, row.id) for row in self}
        if len(events) <= max_fraction * total_rows:
            return
        first = next(iter(self))
        where = f"; all are listed in {self.listing}" if self.listing else ""
        raise UserError(
            f"{len(events)} of {total_rows} rows cannot be read, and data.max_bad_fraction is {max_fraction:g}: the "
            f"first is {first.id!r} of {first.source}, {first.modality}: {first.reason}{where}; fix them, or raise "
            "that fraction"
        )

    def write(self, path: Path) -> None:
        """Writes them as JSON lines, whole or not at all."""
        write_text(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in self))

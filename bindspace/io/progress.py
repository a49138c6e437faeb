"""Progress of long work: a bar with the remaining time on a terminal, otherwise a line every tenth."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class Progress:
    """Counts `total` steps of one piece of work. Use as a context manager; `advance` may carry a short note."""

    def __init__(self, description: str, total: int, *, start: int = 0, shown: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.description, self.total, self.done = description, total, start
        self.console = Console(stderr=True)
        self.shown = shown
        self.bar: Bar | None = None
        self._began, self._start, self._tenth = time.monotonic(), start, 10 * start // max(total, 1)
        if shown and self.console.is_terminal:
            columns = [
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
            ]
            self.bar = Bar(*columns, TextColumn("{task.fields[note]}"), console=self.console)
            self.task = self.bar.add_task(description, total=total, completed=start, note="")

    def __enter__(self) -> Progress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Adds this many finished steps."""
        self.done += steps
        if self.bar is not None:
            self.bar.update(self.task, advance=steps, note=note)
        elif self.shown:
            self._line(note)

    def _line(self, note: str) -> None:
        tenth = 10 * self.done // max(self.total, 1)
        if tenth == self._tenth:
            return
        self._tenth = tenth
        spent = time.monotonic() - self._began
        left = spent / max(self.done - self._start, 1) * (self.total - self.done)
        self.console.print(
            f"{self.description}: {self.done}/{self.total}, {left:.0f} s left {note}".rstrip(), highlight=False
        )


def track(items: Iterable[Item], description: str, total: int, *, shown: bool = True) -> Iterator[Item]:
    """Yields the items and shows progress."""
    with Progress(description, total, shown=shown) as progress:
        for item in items:
            yield item
            progress.advance()

"""ESC-50: 2000 recordings of five seconds, 50 classes, five folds (Piczak, ACM Multimedia 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from .layout import OwnedConfig, first_there


@dataclass(kw_only=True)
class Esc50Config(OwnedConfig):
    """ESC-50: all five folds, since nothing is trained on them (or one of them, with `folds`)."""

    name: ClassVar[str] = "esc50"
    title: ClassVar[str] = "ESC-50"
    home: ClassVar[str] = "https://github.com/karolpiczak/ESC-50"

    folds: list[int] | None = None  # of 1..5; None: all

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`audio`, `label` and `group`: clips cut from one recording of Freesound share their `src_file`."""
        self.checked(split)
        listed = self.table("meta/esc50.csv", "its list of clips", ["filename", "fold", "category", "src_file"])
        folder = self.need("audio", "its folder of 2000 WAV files").parent
        rows = []
        for line in listed:
            if self.folds is not None and int(line["fold"]) not in self.folds:
                continue
            row = {"id": line["filename"].removesuffix(".wav"), "label": line["category"].replace("_", " ")}
            row["group"] = f"freesound-{line['src_file']}"
            if (path := first_there(folder, [f"audio/{line['filename']}"])) is not None:
                row["audio"] = path
            rows.append(row)
        yield from self.need_any(rows, "audio", "as meta/esc50.csv does")

    def classes(self) -> dict[str, list[str]]:
        """The 50 categories, of the list of clips."""
        listed = self.table("meta/esc50.csv", "its list of clips", ["category"])
        return {"label": sorted({line["category"].replace("_", " ") for line in listed})}

"""Clotho: sounds of 15 to 30 seconds, each described by five people (Drossos et al., ICASSP 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .layout import OwnedConfig, first_there

PARTS = {"train": "development", "val": "validation", "test": "evaluation"}
CAPTIONS = [f"caption_{number}" for number in range(1, 6)]


@dataclass(kw_only=True)
class ClothoConfig(OwnedConfig):
    """Clotho 2.1: the evaluation split as `test`; each of the five captions is a separate query."""

    name: ClassVar[str] = "clotho"
    title: ClassVar[str] = "Clotho"
    home: ClassVar[str] = "https://zenodo.org/record/4783391"
    splits: ClassVar[tuple[str, ...]] = tuple(PARTS)

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`audio`, and `text`: five captions."""
        part = PARTS[self.checked(split)]
        listed = self.table(f"clotho_captions_{part}.csv", "its captions", ["file_name", *CAPTIONS])
        folder = Path(self.folder).expanduser()
        rows = []
        for line in listed:
            row: dict[str, Any] = {"id": line["file_name"], "text": [line[name].strip() for name in CAPTIONS]}
            places = [part, f"clotho_audio_{part}", f"clotho_audio_{part}/{part}"]
            names = [line["file_name"], line["file_name"].replace(" ", "_")]
            path = first_there(folder, (f"{place}/{name}" for place in places for name in names))
            if path is not None:
                row["audio"] = path
            rows.append(row)
        yield from self.need_any(rows, "audio", f"as the captions do, in the folder {part} of clotho_audio_{part}.7z")

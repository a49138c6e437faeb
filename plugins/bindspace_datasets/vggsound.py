"""VGGSound: clips of ten seconds from YouTube, one of 309 classes each (Chen et al., ICASSP 2020)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bindspace import UserError

from .layout import SOUNDS, OwnedConfig, clip_in, files_by_stem


@dataclass(kw_only=True)
class VggsoundConfig(OwnedConfig):
    """VGGSound: the test split of `vggsound.csv`, with the clips that you have of it."""

    name: ClassVar[str] = "vggsound"
    title: ClassVar[str] = "VGGSound"
    home: ClassVar[str] = "https://www.robots.ox.ac.uk/~vgg/data/vggsound/"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`audio` and `label`."""
        self.checked(split)
        listed = self._listed()
        found = files_by_stem(Path(self.folder).expanduser(), SOUNDS)
        rows = []
        for video, start, label, part in listed:
            if part != split:
                continue
            row = {"id": f"{video}_{int(start):06d}", "label": label, "group": f"youtube-{video}"}
            if (path := clip_in(found, video, float(start))) is not None:
                row["audio"] = path
            rows.append(row)
        yield from self.need_any(rows, "audio", "ID_000030.wav, with the second at which the clip begins")

    def classes(self) -> dict[str, list[str]]:
        """The 309 classes that the list names."""
        return {"label": sorted({label for _, _, label, _ in self._listed()})}

    def _listed(self) -> list[list[str]]:
        """[YouTube id, start second, label, split] of each line."""
        file = self.need("vggsound.csv", "its list of clips", f"{self.home}vggsound.csv")
        with file.open(encoding="utf-8", newline="") as lines:
            listed = [cells for cells in csv.reader(lines) if cells]
        for cells in listed:
            if len(cells) != 4 or not cells[1].isdigit() or cells[3] not in self.splits:
                raise UserError(
                    f"{self.title}: expected lines of id, second, label, train or test in {file}, got {cells}"
                )
        return listed

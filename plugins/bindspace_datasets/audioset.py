"""AudioSet: clips of ten seconds from YouTube with several of 527 classes each (Gemmeke et al., ICASSP 2017)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bindspace import UserError

from .layout import SOUNDS, OwnedConfig, clip_in, files_by_stem

SEGMENTS = {"train": "unbalanced_train_segments.csv", "test": "eval_segments.csv"}
LABELS = "class_labels_indices.csv"
CSV = "http://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/"


@dataclass(kw_only=True)
class AudiosetConfig(OwnedConfig):
    """AudioSet: `eval_segments.csv` as `test`, with the clips that you have of it; measured by mAP."""

    name: ClassVar[str] = "audioset"
    title: ClassVar[str] = "AudioSet"
    home: ClassVar[str] = "https://research.google.com/audioset/download.html"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    balanced: bool = False  # train on balanced_train_segments.csv, 22,160 clips, instead of the two million

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`audio`, and `label`: a list of class names."""
        segments = SEGMENTS[self.checked(split)]
        if split == "train" and self.balanced:
            segments = "balanced_train_segments.csv"
        names = self._names()
        listed = list(self._segments(segments))
        found = files_by_stem(Path(self.folder).expanduser(), SOUNDS)
        rows = []
        for video, start, end, mids in listed:
            if unknown := [mid for mid in mids if mid not in names]:
                raise UserError(f"{self.title}: {segments} names the class {unknown[0]}, which {LABELS} does not hold")
            row = {"id": f"{video}_{start:g}", "label": [names[mid] for mid in mids], "group": f"youtube-{video}"}
            if (path := clip_in(found, video, start, end - start)) is not None:
                row["audio"] = path
            rows.append(row)
        yield from self.need_any(rows, "audio", "ID.wav or ID_START_END.flac with times in milliseconds")

    def classes(self) -> dict[str, list[str]]:
        """The 527 classes, by their display names."""
        return {"label": list(self._names().values())}

    def _names(self) -> dict[str, str]:
        listed = self.table(LABELS, "its list of classes", ["mid", "display_name"], CSV + LABELS)
        return {line["mid"]: line["display_name"] for line in listed}

    def _segments(self, name: str) -> Iterator[tuple[str, float, float, list[str]]]:
        """(YouTube id, start, end, classes) of each line that is no comment."""
        file = self.need(name, "its list of segments", CSV + name)
        with file.open(encoding="utf-8", newline="") as lines:
            for cells in csv.reader((line for line in lines if not line.startswith("#")), skipinitialspace=True):
                try:
                    video, start, end, mids = cells
                    yield video, float(start), float(end), mids.split(",")
                except ValueError as error:
                    raise UserError(
                        f'{self.title}: expected lines like `ID, 30.000, 40.000, "/m/09x0r"` in {file}, got {cells}'
                    ) from error

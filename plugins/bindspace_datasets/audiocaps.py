"""AudioCaps: clips of AudioSet with captions, five a clip in validation and test (Kim et al., NAACL 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .layout import SOUNDS, OwnedConfig, clip_in, files_by_stem

# Without what VGGSound's training split holds (Oncescu et al., Interspeech 2021); ImageBind had 796 of its test clips.
RETRIEVAL = (
    "https://www.robots.ox.ac.uk/~vgg/research/audio-retrieval/resources/benchmark-files/"
    "AudioCaps_retrieval_dataset.tar.gz"
)


@dataclass(kw_only=True)
class AudiocapsConfig(OwnedConfig):
    """AudioCaps: each of the five captions of a test clip is a separate query."""

    name: ClassVar[str] = "audiocaps"
    title: ClassVar[str] = "AudioCaps"
    home: ClassVar[str] = "https://github.com/cdjkim/audiocaps"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    retrieval: bool = False  # the splits of Oncescu et al. (2021), which ImageBind is measured on

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`audio`, and `text`: the captions of the clip."""
        self.checked(split)
        columns = ["youtube_id", "start_time", "caption"]
        if self.retrieval:
            name, where = f"AudioCaps_retrieval_dataset/retrieval_{split}.csv", RETRIEVAL
        else:
            name, where = f"dataset/{split}.csv", self.home
        captions: dict[tuple[str, float], list[str]] = {}
        for line in self.table(name, "its captions", columns, where):
            captions.setdefault((line["youtube_id"], float(line["start_time"])), []).append(line["caption"])
        found = files_by_stem(Path(self.folder).expanduser(), SOUNDS)
        rows = []
        for (video, start), texts in captions.items():
            row: dict[str, Any] = {"id": f"{video}_{start:g}", "text": texts, "group": f"youtube-{video}"}
            if (path := clip_in(found, video, start)) is not None:
                row["audio"] = path
            rows.append(row)
        yield from self.need_any(rows, "audio", "ID.wav or ID_START_END.flac with times in milliseconds")

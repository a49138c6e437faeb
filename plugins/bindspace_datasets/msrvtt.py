"""MSR-VTT: videos with sentences (Xu et al., CVPR 2016), and its test of 1,000 pairs, 1k-A (Yu et al., ECCV 2018)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from bindspace import UserError
from bindspace.io.files import whole_file

from .layout import SOUNDS, OwnedConfig, files_by_stem

VIDEOS = (".mp4",)
TEST = "MSRVTT_JSFUSION_test.csv"
TRAIN = "train_val_videodatainfo.json"
SPLIT = "https://github.com/antoine77340/MIL-NCE_HowTo100M (csv/msrvtt_test.csv, there under another name)"


class Track(Enum):
    """The track of a video to read."""

    audio = "audio"
    video = "video"


@dataclass(kw_only=True)
class MsrvttConfig(OwnedConfig):
    """MSR-VTT: sentences with the sound of their videos (track=audio), or with the videos (track=video)."""

    name: ClassVar[str] = "msrvtt"
    title: ClassVar[str] = "MSR-VTT"
    home: ClassVar[str] = "https://www.microsoft.com/en-us/research/publication/msr-vtt/"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    track: Track = Track.audio

    @property
    def converts(self) -> bool:  # type: ignore[override]
        """Whether sounds are written: not where the folder holds some, named like the videos."""
        return self.track is Track.audio and not self._files(SOUNDS)

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`text`, and `audio` or, of track=video, `image`; videos that have no sound are without the cell."""
        captions = self._captions(self.checked(split))
        column = "audio" if self.track is Track.audio else "image"
        converts = self.converts
        found = self._files(SOUNDS if column == "audio" and not converts else VIDEOS)
        rows = []
        for video, texts in captions.items():
            row: dict[str, Any] = {"id": video, "text": texts if len(texts) > 1 else texts[0]}
            if video in found and not (converts and not has_sound(self._at(found[video]))):
                row[column] = f"audio/{video}.flac" if converts else found[video]
            rows.append(row)
        yield from self.need_any(rows, column, "video7020.mp4, or the extracted sounds video7020.wav")

    def convert(self, split: str, out: Path) -> None:
        """The sound of each video as FLAC, at its own rate and with its own channels."""
        found = self._files(VIDEOS)
        for video in self._captions(split):
            target = out / "audio" / f"{video}.flac"
            if video in found and not target.exists() and has_sound(self._at(found[video])):
                extract_sound(self._at(found[video]), target)

    def _captions(self, split: str) -> dict[str, list[str]]:
        if split == "test":
            listed = self.table(TEST, "the pairs of its test 1k-A", ["video_id", "sentence"], SPLIT)
            return {line["video_id"]: [line["sentence"]] for line in listed}
        file = self.need(TRAIN, "its sentences")
        captions: dict[str, list[str]] = {}
        try:
            for line in json.loads(file.read_text(encoding="utf-8"))["sentences"]:
                captions.setdefault(line["video_id"], []).append(line["caption"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.title}: expected `sentences` with video_id and caption in {file}") from error
        return captions

    def _files(self, suffixes: tuple[str, ...]) -> dict[str, str]:
        return files_by_stem(Path(self.folder).expanduser(), suffixes) if self.folder else {}

    def _at(self, path: str) -> Path:
        return Path(self.folder).expanduser() / path


def has_sound(video: Path) -> bool:
    """Whether a video has a track of sound. Raises `UserError` without PyAV, and for a file that does not open."""
    av = _pyav()
    try:
        with av.open(str(video)) as container:
            return bool(container.streams.audio)
    except av.FFmpegError as error:
        raise UserError(f"expected a whole video, got {video}, which does not open: copy it again") from error


def extract_sound(video: Path, target: Path) -> None:
    """Writes the first track of sound as FLAC of 16 bits, whole or not at all."""
    import numpy as np
    import soundfile

    av = _pyav()
    with av.open(str(video)) as container:
        track = container.streams.audio[0]
        to_16_bits = av.AudioResampler(format="s16", layout=track.layout, rate=track.rate)
        frames = [each for frame in container.decode(track) for each in to_16_bits.resample(frame)]
        frames += to_16_bits.resample(None)
        samples = np.concatenate([frame.to_ndarray().reshape(-1, track.channels) for frame in frames if frame])
    with whole_file(target) as place:
        soundfile.write(place, samples, track.rate, format="FLAC", subtype="PCM_16")


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise UserError(
            "the sound of videos needs PyAV: pip install 'bindspace[video]', or extract it to WAV files"
        ) from error
    return av

"""The few frames of a video that are looked at: two of each clip. Needs PyAV (`bindspace[video]`)."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bindspace import BadSample, UserError

TOLERATED = 0.9  # of the frames that are looked for have to decode
PICTURES = (b"avif", b"avis", b"heic", b"heix", b"heif", b"mif1", b"msf1")  # brands that share the MP4 container


def is_video(source: Path | bytes) -> bool:
    """Whether a file begins like a video: MP4 and MOV, WebM and MKV, AVI."""
    if isinstance(source, Path):
        if not source.is_file():
            return False
        with source.open("rb") as file:
            head = file.read(12)
    else:
        head = source[:12]
    if head[4:8] == b"ftyp":
        return head[8:12] not in PICTURES
    return head.startswith(b"\x1a\x45\xdf\xa3") or (head[:4] == b"RIFF" and head[8:11] == b"AVI")


def clip_starts(seconds: float, length: float, clips: int) -> list[Fraction]:
    """Start times of clips of `length` seconds, evenly spread; all 0 for a video no longer than one clip.

    Exact fractions of the floating-point duration, as in the official code: 1.65 s of 5.3 is a little less than 1.65.
    """
    spare = max(Fraction(seconds) - Fraction(length), Fraction(0))
    return [spare * i / max(clips - 1, 1) for i in range(clips)]


def frames_of_clips(total: int, rate: Fraction, length: float, clips: int) -> list[tuple[int, int]]:
    """The first and the last frame of each clip, of a video of `total` frames at `rate` a second."""
    pairs = []
    for start in clip_starts(float(total / rate), length, clips):
        first = min(math.ceil(start * rate), total - 1)
        last = min(math.ceil((start + Fraction(length)) * rate), total) - 1
        pairs.append((first, max(first, last)))
    return pairs


def read_frames(source: Path | bytes, span: tuple[float, float] | None, clips: int, clip_seconds: float) -> np.ndarray:
    """Two frames of each clip, (clips, 2, H, W, 3) uint8. Raises `BadSample`, or `UserError` where PyAV is missing.

    `span`: start and end in seconds of the part that is looked at.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("reading a video needs PyAV: pip install 'bindspace[video]'") from error
    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), mode="r") as container:
            if not container.streams.video:
                raise BadSample("expected a video, got a file without a picture track: give its sound to audio")
            total, rate = _count(container), container.streams.video[0].average_rate
            if total == 0 or not rate:
                raise BadSample("expected a video, got one without frames: copy or record it again")
            begin, end = _part(total, rate, span)
            wanted = [(begin + a, begin + b) for a, b in frames_of_clips(end - begin, rate, clip_seconds, clips)]
            container.seek(0)
            frames = _decode(container, sorted({index for pair in wanted for index in pair}))
    except av.error.FFmpegError as error:
        raise BadSample(f"expected a whole video file, got one that does not decode ({error.strerror})") from error
    return np.stack([np.stack([frames[a], frames[b]]) for a, b in wanted])


def _count(container: Any) -> int:
    """Frames of the first picture track, counted: headers are often wrong or empty. Cut-off ones are not shown."""
    return sum(1 for packet in container.demux(video=0) if packet.size and not packet.is_discard)


def _part(total: int, rate: Fraction, span: tuple[float, float] | None) -> tuple[int, int]:
    """The frames from `span`'s start to its end; an end behind the video's end means its end (W3C media fragments)."""
    start, end = span or (0.0, math.inf)
    first = math.ceil(Fraction(start) * rate)
    if first >= total:
        raise BadSample(
            f"expected a fragment within the video, got one from {start:g} s of {float(total / rate):.3g} s"
        )
    return first, total if end == math.inf else max(first + 1, min(total, math.ceil(Fraction(end) * rate)))


def _decode(container: Any, indices: Sequence[int]) -> dict[int, np.ndarray]:
    """Those frames as (H, W, 3) uint8 by index; decoding ends behind the last of them."""
    wanted, frames, index = set(indices), {}, -1
    for index, frame in enumerate(container.decode(video=0)):
        if index in wanted:
            frames[index] = frame.to_ndarray(format="rgb24")
        if index == indices[-1]:
            return frames
    shown = index + 1 if frames else 0
    if shown < TOLERATED * (indices[-1] + 1):
        raise BadSample(f"expected {indices[-1] + 1} frames, got {shown} that decode: copy or record the video again")
    last = frames[max(frames)]  # cut without encoding anew, videos often end in a few frames that cannot be shown
    return {wanted: frames.get(wanted, last) for wanted in indices}

"""Ego4D: what an IMU on the head felt round each narrated moment, and in which scenario (Grauman et al., CVPR 2022)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import UserError
from bindspace.io.files import write_bytes
from bindspace.io.progress import Progress

from .karpathy import read_json
from .layout import OwnedConfig

if TYPE_CHECKING:
    import numpy as np

SECONDS = 5.0  # of a window (ImageBind: 5 s are 2000 steps)
TEST_SHARE = 0.119  # of the windows: 68,865 against 510 thousand of training (ImageBind, appendix A)
MANY = 20  # videos whose reading is shown
GAP = 0.2  # seconds without a sample that a window may have
TIME, CHANNELS = "canonical_timestamp_ms", ("accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = {"imu.accel": "m/s2", "imu.gyro": "rad/s"}  # of the GoPro streams that the owner's CSV files hold


@dataclass(frozen=True)
class Video:
    """Metadata of a video."""

    uid: str
    seconds: float
    scenarios: list[str]
    has_imu: bool


@dataclass(kw_only=True)
class Ego4dConfig(OwnedConfig):
    """Ego4D: windows of IMU, five seconds round each narration, each with the scenario of its video.

    As in ImageBind a video counts if it has one scenario only, and a narrated moment if the IMU covers it; the classes
    are all scenarios of the metadata (108). The paper splits its windows at random without a list, so this is not
    its test set: here whole videos are held out for testing, by hash, since windows of one video overlap. A window that
    would begin before the video or end behind it is moved into it. One with a gap of more than 0.2 s, or without
    acceleration, is no window.
    """

    name: ClassVar[str] = "ego4d"
    title: ClassVar[str] = "Ego4D"
    home: ClassVar[str] = "https://ego4d-data.org (ego4d --datasets annotations imu, after signing its licence)"
    converts: ClassVar[bool] = True

    release: str = "v2"  # the folder of the owner's version
    rate: float = 200.0  # Hz that windows are written with, that of most of the files; the IMU plugins resample
    seed: int = 0  # of the test share

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`imu` with rate and units, `label`, and `group`: the video."""
        self.checked(split)
        yield from self.need_any([row for row, _ in self._windows()], "imu", f"{self.release}/imu/<video_uid>.csv")

    def convert(self, split: str, out: Path) -> None:
        """Writes each window as an NPY file (n, 6) float32: accelerometer and gyroscope, evenly sampled."""
        import numpy as np

        for row, signal in self._windows():
            if signal is not None and not (out / row["imu"]).exists():
                file = io.BytesIO()
                np.save(file, signal)
                write_bytes(out / row["imu"], file.getvalue())

    def classes(self) -> dict[str, list[str]]:
        """All scenarios that a video has."""
        return {"label": sorted({scenario for video in self._videos() for scenario in video.scenarios})}

    def _windows(self) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
        """Each window's row and signal; both without a signal where the owner's CSV file is not there."""
        file = self.need(f"{self.release}/annotations/narration.json", "its narrations")
        folder, told = file.parents[1] / "imu", read_json(file)
        if not isinstance(told, dict):
            raise UserError(f"{file}: expected a JSON object with a video's narrations by its uid: download it again")
        narrations = told.get("videos", told)  # some releases wrap what the first one held
        videos = [video for video in self._videos() if video.uid in narrations and self._tests(video)]
        with Progress(f"reading {self.title}", len(videos), shown=len(videos) >= MANY) as progress:
            for video in videos:
                path = folder / f"{video.uid}.csv"
                recorded = read_imu(path) if path.is_file() else None
                for start in window_starts(moments(narrations[video.uid], file), video.seconds):
                    row = {"id": f"{video.uid}-{start:.2f}", "label": video.scenarios[0], "group": video.uid}
                    if recorded is None:
                        yield row, None
                    elif (signal := cut_window(*recorded, start, self.rate)) is not None:
                        cell = f"imu/{self.rate:g}hz/{video.uid}/{start:.2f}.npy"
                        yield {**row, "imu": cell, "imu.rate": self.rate, **UNITS}, signal
                progress.advance()

    def _videos(self) -> list[Video]:
        file = self.need("ego4d.json", "its metadata")
        try:
            return [
                Video(
                    told["video_uid"], float(told["duration_sec"]), told["scenarios"] or [], told.get("has_imu", True)
                )
                for told in read_json(file, "videos")
            ]
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{file}: expected videos with video_uid, duration_sec and scenarios ({error!r}): download it again"
            ) from error

    def _tests(self, video: Video) -> bool:
        """Whether a video is of the test share: it has one scenario and an IMU, and its hash says so."""
        digest = hashlib.sha256(f"{self.seed}/{video.uid}".encode()).digest()
        chosen = int.from_bytes(digest[:8]) < TEST_SHARE * 2**64
        return chosen and len(video.scenarios) == 1 and video.has_imu


def moments(narrated: Mapping[str, Any], file: Path) -> list[float]:
    """When something was narrated, in seconds, by either of the two people who did."""
    try:
        passes = [narrated.get(name) or {} for name in ("narration_pass_1", "narration_pass_2")]
        return sorted({float(each["timestamp_sec"]) for told in passes for each in told.get("narrations") or []})
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: expected narrations with timestamp_sec ({error!r}): download it again") from error


def window_starts(times: Iterable[float], duration: float) -> list[float]:
    """Start times of windows around moments, moved into the video; deduplicated to a hundredth of a second."""
    if duration < SECONDS:
        return []
    return sorted({round(min(max(time - SECONDS / 2, 0.0), duration - SECONDS), 2) for time in times})


def read_imu(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,) in seconds of the video, growing, and the six channels (n, 6), NaN where a value is missing.

    The owner's times may be missing, out of order and doubled: such samples are left out, sorted, and taken once.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    options = csv.ConvertOptions(
        include_columns=[TIME, *CHANNELS], column_types=dict.fromkeys([TIME, *CHANNELS], pa.float64())
    )
    try:
        table = csv.read_csv(file, convert_options=options)
    except (pa.ArrowException, KeyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{file}: expected the columns {TIME}, {', '.join(CHANNELS)} ({reason}): download it again"
        ) from error
    values = np.stack([table[name].to_numpy() for name in (TIME, *CHANNELS)], axis=1)
    values = values[np.isfinite(values[:, 0])]
    times, first = np.unique(values[:, 0], return_index=True)
    return times / 1000, values[first, 1:]


def cut_window(times: np.ndarray, signal: np.ndarray, start: float, rate: float) -> np.ndarray | None:
    """Five seconds from `start`, evenly sampled (n, 6) float32; None if a part is missing, or the sensor was off."""
    import numpy as np

    near = slice(*np.searchsorted(times, [start - GAP, start + SECONDS + GAP]))
    whole = np.isfinite(signal[near]).all(axis=1)
    times, signal = times[near][whole], signal[near][whole]
    inside = times[(times >= start) & (times <= start + SECONDS)]
    if np.diff([start, *inside, start + SECONDS]).max() > GAP or not np.ptp(signal, axis=0).any():
        return None
    even = start + np.arange(round(SECONDS * rate)) / rate
    return np.stack([np.interp(even, times, channel) for channel in signal.T], axis=1).astype(np.float32)

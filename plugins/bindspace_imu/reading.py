"""From an NPY or CSV file, its bytes or an array to one checked six-channel signal. Imports numpy."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bindspace import BadSample

CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
RATES = (10.0, 20_000.0)  # Hz
ACCELERATION, ROTATION = 400.0, 70.0  # m/s^2 and rad/s; usual full scales are 16 g and 2,000 deg/s
LOOKS_LIKE_G = (0.75, 1.3)  # |a| lies here most of the time if it is in g; in m/s^2, in free fall only, and briefly
GRAVITY = 9.80665
GAP_SECONDS = 0.2
ZEROS = 8  # of the resampling filter, to each side


def read_signal(source: Any, info: Mapping[str, Any], rate: float, min_seconds: float) -> np.ndarray:
    """A float32 signal (n, 6) at `rate`, in m/s^2 and rad/s. Raises `BadSample`."""
    signal, times = _decode(source)
    if len(signal) == 0:
        raise BadSample("expected at least one sample of six channels, got none: leave the cell out")
    if not np.isfinite(signal).all():
        row, column = np.argwhere(~np.isfinite(signal))[0]
        raise BadSample(
            f"expected finite values, got {signal[row, column]} in {CHANNELS[column]} at sample {row}: cut it out"
        )
    if len(signal) > 1 and not np.ptp(signal, axis=0).any():
        raise BadSample("expected a signal, got six channels that never change: the sensor was off, leave the cell out")
    signal = _in_si_units(signal, info)
    signal, own_rate = _evenly_sampled(signal, times, info)
    signal = _fragment(signal, own_rate, info.get("t"))
    if len(signal) < min_seconds * own_rate:
        raise BadSample(f"expected at least {min_seconds:g} s, got {len(signal) / own_rate:.3g} s: leave the cell out")
    return (signal if own_rate == rate else resampled(signal, own_rate, rate)).astype(np.float32)


def resampled(signal: np.ndarray, old: float, new: float) -> np.ndarray:
    """The signal (n, C) at another rate: a Hann-windowed sinc at the lower of the two Nyquist frequencies.

    Weights sum to one, so a constant stays what it is; beyond the ends the first and last values are repeated.
    """
    cut = min(1.0, new / old)
    position = np.arange(max(1, round(len(signal) * new / old))) * (old / new)
    reach = math.ceil(ZEROS / cut)
    first = np.floor(position).astype(np.int64) - reach + 1
    result, total = np.zeros((len(position), signal.shape[1])), np.zeros((len(position), 1))
    for tap in range(2 * reach):
        distance = ((position - first - tap) * cut).clip(-ZEROS, ZEROS)[:, None]
        weight = np.sinc(distance) * np.cos(np.pi / 2 * distance / ZEROS) ** 2
        result += weight * signal[(first + tap).clip(0, len(signal) - 1)]
        total += weight
    return result / total


def _decode(source: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The signal (n, 6) as stored, and its times in seconds if it has some."""
    if isinstance(source, (Path, bytes)):
        content = source.read_bytes() if isinstance(source, Path) else source
        if not content:
            raise BadSample("expected an NPY or CSV file, got 0 bytes: copy or record it again")
        if not content.startswith(b"\x93NUMPY"):
            return _decode_csv(content)
        try:
            source = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError, OSError, SyntaxError) as error:
            raise BadSample(f"expected a whole NPY file of numbers, got one that does not load ({error})") from error
    signal = np.asarray(source)
    if signal.dtype.kind not in "fiu":
        raise BadSample(f"expected numbers, got an array of type {signal.dtype}: save it as float32")
    if signal.ndim != 2 or signal.shape[1] != 6:
        turn = (
            ": transpose it" if signal.ndim == 2 and signal.shape[0] == 6 else f": the order is {', '.join(CHANNELS)}"
        )
        raise BadSample(f"expected six channels, shape (n, 6), got shape {signal.shape}{turn}")
    return signal.astype(np.float64), None


def _decode_csv(content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BadSample("expected an NPY file or a CSV text, got other bytes: save it as one of the two") from error
    names = [cell.strip().lower() for cell in lines[0].split(",")] if lines else list(CHANNELS)
    if lines and not all(_is_number(name) for name in names):
        missing = [name for name in CHANNELS if name not in names]
        if missing:
            raise BadSample(
                f"expected the CSV columns {','.join(CHANNELS)}[,time], got none named {', '.join(missing)}"
            )
        lines = lines[1:]
    elif len(names) == 6:
        names = list(CHANNELS)
    else:
        raise BadSample(
            f"expected six columns, got {len(names)} without names: write a first line {','.join(CHANNELS)}[,time]"
        )
    if not lines:
        raise BadSample("expected at least one sample of six channels, got none: leave the cell out")
    columns = [names.index(name) for name in (*CHANNELS, "time") if name in names]
    try:
        table = np.loadtxt(lines, delimiter=",", comments=None, usecols=columns, ndmin=2)
    except ValueError as error:
        raise BadSample(f"expected a number in every cell of the CSV file, got a damaged line ({error})") from error
    return table[:, :6], table[:, 6] if "time" in names else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _in_si_units(signal: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
    """Converts units that `info` states, and refuses values that cannot be in the units they should be in."""
    scale_a = _unit(info, "accel", {"m/s2": 1.0, "g": GRAVITY})
    scale_g = _unit(info, "gyro", {"rad/s": 1.0, "deg/s": math.pi / 180})
    magnitude = np.linalg.norm(signal[:, :3], axis=1)
    low, high = LOOKS_LIKE_G
    if scale_a is None and ((magnitude > low) & (magnitude < high)).mean() > 0.5:
        raise BadSample(
            f"expected acceleration in m/s^2 with gravity (about 9.8), got around {np.median(magnitude):.2g}, as if in"
            " g: state the unit, `accel`: g or m/s2, e.g. in a column imu.accel"
        )
    signal = signal * np.repeat([scale_a or 1.0, scale_g or 1.0], 3)
    for name, key, part, limit, unit, units in (
        ("an accelerometer", "accel", signal[:, :3], ACCELERATION, "m/s^2", "m/s2 or g"),
        ("a gyroscope", "gyro", signal[:, 3:], ROTATION, "rad/s", "rad/s or deg/s"),
    ):
        peak = float(np.abs(part).max())
        if peak > limit:
            raise BadSample(
                f"expected {name} within {limit:g} {unit}, got {peak:.4g}: state its unit, `{key}`: {units}, e.g. in a"
                f" column imu.{key}, or cut the fault out"
            )
    return signal


def _unit(info: Mapping[str, Any], key: str, units: dict[str, float]) -> float | None:
    if info.get(key) is None:
        return None
    if info[key] not in units:
        raise BadSample(f"expected `{key}` to be {' or '.join(units)}, got {info[key]!r}: correct the column")
    return units[info[key]]


def _evenly_sampled(signal: np.ndarray, times: np.ndarray | None, info: Mapping[str, Any]) -> tuple[np.ndarray, float]:
    """The signal at its own constant rate: the stated one, or that of its times."""
    stated = None if info.get("rate") is None else _checked_rate(info["rate"])
    if times is None:
        if stated is None:
            raise BadSample(
                "expected a sampling rate, got none: give `rate` in Hz, e.g. a column imu.rate, or time in the CSV"
            )
        return signal, stated
    steps = np.diff(times)
    if len(steps) == 0 or not np.isfinite(times).all() or steps.min() <= 0:
        raise BadSample(
            "expected a column time in seconds that grows from line to line, got one that does not: sort it"
        )
    step = float(np.median(steps))
    if steps.max() > max(GAP_SECONDS, 2 * step):
        at = int(steps.argmax())
        raise BadSample(
            f"expected samples without gaps and time in seconds, got a step of {steps.max():.3g} after sample {at}:"
            " cut the recording there, or convert the time"
        )
    rate = _checked_rate(1 / step)
    if stated is not None and abs(stated / rate - 1) > 0.05:
        raise BadSample(
            f"expected {stated:g} Hz as `rate` says, got times at {rate:.4g} Hz: correct or remove one of them"
        )
    even = np.arange(times[0], times[-1] + step / 2, step)
    return np.stack([np.interp(even, times, channel) for channel in signal.T], axis=1), rate


def _checked_rate(rate: Any) -> float:
    try:
        value = float(rate)
    except (TypeError, ValueError):
        value = math.nan
    if not RATES[0] <= value <= RATES[1]:
        shown = f"{value:.4g}" if math.isfinite(value) else repr(rate)
        raise BadSample(
            f"expected a rate of {RATES[0]:g} to {RATES[1]:g} Hz, got {shown}: correct the rate, or the unit of time"
        )
    return value


def _fragment(signal: np.ndarray, rate: float, t: tuple[float, float] | None) -> np.ndarray:
    """The part from start to end; an end behind the signal's end means its end (W3C media fragments)."""
    if t is None:
        return signal
    first = round(t[0] * rate)
    if first and first >= len(signal):
        raise BadSample(f"expected a fragment within the signal, got one from {t[0]:g} s of {len(signal) / rate:.3g} s")
    return signal[first : len(signal) if t[1] == math.inf else round(t[1] * rate)]

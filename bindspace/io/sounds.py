"""From a sound file, its bytes or an array to checked float32 samples. For plugins whose samples are waveforms.

Imports numpy, soundfile and torchaudio: import it inside the methods that need it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch
import torchaudio

from bindspace.contract import BadSample

RATES = (1000, 400_000)  # Hz
SILENCE = 1e-5  # a peak below this (-100 dB) is digital silence
LOUDEST = 16.0  # float files may slightly exceed 1; beyond this the range is not -1..1
STREAMED = 0x7FFFF000  # from this value on, a WAV header's size means unknown


def read_wave(source: Any, info: Mapping[str, Any], rate: int, min_seconds: float) -> np.ndarray:
    """A mono waveform (n,) at `rate`, the mean of all channels. Raises `BadSample`, as `read_sound`."""
    sound, own_rate = read_sound(source, info, min_seconds)
    wave = sound.mean(axis=1)
    return wave if own_rate == rate else resampled(wave, own_rate, rate)


def read_sound(source: Any, info: Mapping[str, Any], min_seconds: float) -> tuple[np.ndarray, int]:
    """All channels as stored (n, channels), and their rate. Raises `BadSample`."""
    if isinstance(source, (Path, bytes)):
        sound, rate = _from_file(source, info)
    else:
        sound, rate = _from_array(source, info)
    if not np.isfinite(sound).all():
        first = int(np.argwhere(~np.isfinite(sound))[0, 0])
        raise BadSample(f"expected finite samples, got NaN or infinity at sample {first}: write the sound again")
    seconds, peak = len(sound) / rate, float(np.abs(sound).max(initial=0))
    if seconds < min_seconds:
        raise BadSample(
            f"expected at least {min_seconds:g} s of sound, got {seconds:.3g} s: lower `min_seconds` or leave it out"
        )
    if peak < SILENCE:
        raise BadSample(
            f"expected sound, got digital silence for {seconds:.3g} s: leave the cell out if nothing was recorded"
        )
    if peak > LOUDEST:
        raise BadSample(
            f"expected samples within -1..1, got a peak of {peak:.3g}: divide integer samples by their full scale"
        )
    return sound, rate


def resampled(wave: np.ndarray, old: int, new: int) -> np.ndarray:
    """Waveforms (..., n) at another rate, band-limited (torchaudio's windowed sinc)."""
    ratio = Fraction(new, old).limit_denominator(1000)  # exact for usual rates; bounds the filter's size for odd ones
    with torch.inference_mode():
        return _resampler(ratio.denominator, ratio.numerator)(torch.from_numpy(wave)).numpy()


@lru_cache(maxsize=8)
def _resampler(old: int, new: int) -> torchaudio.transforms.Resample:
    return torchaudio.transforms.Resample(old, new)


def _from_array(source: Any, info: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    if "rate" not in info:
        raise BadSample(
            "expected the rate of an array of samples, got none: give `rate` in Hz, e.g. a column audio.rate"
        )
    rate = _checked_rate(info["rate"])
    sound = np.asarray(source)
    if sound.dtype in (np.int16, np.int32):
        sound = sound / -float(np.iinfo(sound.dtype).min)
    if sound.dtype.kind != "f" or sound.ndim not in (1, 2) or sound.size == 0:
        raise BadSample(
            f"expected floats in -1..1, int16 or int32 of shape (n,) or (n, channels), got {sound.dtype} {sound.shape}"
        )
    sound = sound.reshape(len(sound), -1).astype(np.float32)
    if sound.shape[1] > sound.shape[0]:
        raise BadSample(f"expected samples first, (n, channels), got shape {sound.shape}: transpose it")
    return _cut(sound, rate, info), rate


def _cut(sound: np.ndarray, rate: int, info: Mapping[str, Any]) -> np.ndarray:
    start, stop = _fragment(info, len(sound), rate)
    return sound[start:stop]


def _from_file(source: Path | bytes, info: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as stream:
        size = stream.seek(0, os.SEEK_END)
        if size == 0:
            raise BadSample("expected a sound file, got 0 bytes: copy or record it again")
        _check_whole(stream, size)
        stream.seek(0)
        try:
            with soundfile.SoundFile(stream) as sound:
                rate = _checked_rate(sound.samplerate)
                start, stop = _fragment(info, sound.frames, rate)
                sound.seek(start)
                samples = sound.read(stop - start, dtype="float32", always_2d=True)
        except (
            soundfile.SoundFileError,
            TypeError,
        ) as error:  # TypeError: a suffix that soundfile treats as raw samples
            reason = getattr(error, "error_string", None) or str(error) or "damaged"
            raise BadSample(
                f"expected a whole WAV, FLAC, OGG or MP3 file, got one that does not decode ({reason})"
            ) from error
    if len(samples) < stop - start:
        raise _truncated(f"{(start + len(samples)) / rate:.3g} s of the {stop / rate:.3g} s that its header promises")
    if "rate" in info and _checked_rate(info["rate"]) != rate:
        raise BadSample(
            f"expected {info['rate']} Hz as `rate` says, got a file of {rate} Hz: correct or remove the column"
        )
    return samples, rate


def _fragment(info: Mapping[str, Any], frames: int, rate: int) -> tuple[int, int]:
    """First and last + 1 sample of `t`; an end behind the sound's end means its end (W3C media fragments)."""
    start, stop = info.get("t") or (0.0, float("inf"))
    first = round(start * rate)
    if first and first >= frames:
        raise BadSample(f"expected a fragment within the sound, got one from {start:g} s of {frames / rate:.3g} s")
    return first, frames if stop == float("inf") else min(frames, round(stop * rate))


def _checked_rate(rate: Any) -> int:
    try:
        value = float(rate)
    except (TypeError, ValueError):
        value = float("nan")
    if not RATES[0] <= value <= RATES[1] or value != int(value):
        raise BadSample(f"expected a rate of {RATES[0]} to {RATES[1]} Hz in whole Hz, got {rate!r}: correct the rate")
    return int(value)


def _truncated(found: str) -> BadSample:
    return BadSample(f"expected a whole file, got a truncated one ({found}): copy it again")


def _check_whole(stream: BinaryIO, size: int) -> None:
    """Refuses a truncated WAV or OGG file, which libsndfile silently reads as a shorter sound."""
    stream.seek(0)
    kind = stream.read(12)
    if kind[:4] == b"RIFF" and kind[8:] == b"WAVE":
        _check_wav(stream, size)
    elif kind[:4] == b"OggS":
        _check_ogg(stream, size)


def _check_wav(stream: BinaryIO, size: int) -> None:
    at = 12
    while at + 8 <= size:
        stream.seek(at)
        header = stream.read(8)
        name, length = header[:4], int.from_bytes(header[4:], "little")
        if name == b"data":
            if length < STREAMED and at + 8 + length > size:
                raise _truncated(f"{size - at - 8} of {length} bytes of samples")
            return
        at += 8 + length + length % 2
    raise _truncated("no samples follow its header")


def _check_ogg(stream: BinaryIO, size: int) -> None:
    """The last page must be whole and marked as the end of its stream (RFC 3533, section 6)."""
    tail_at = max(0, size - 2**17)  # a page has at most 65,307 bytes
    stream.seek(tail_at)
    tail = stream.read()
    page = tail[tail.rfind(b"OggS\0") :]
    body = 27 + page[26] if len(page) > 26 else 27  # the header and its table of lengths
    if len(page) < max(28, body + sum(page[27:body])) or not page[5] & 4:
        raise _truncated("its last page is missing")

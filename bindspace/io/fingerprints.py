"""Robust hashes of pictures and sounds, for a plugin's `fingerprint`: re-encoding changes few bits of them.

Imports numpy and Pillow: import it inside the method that needs it. Both hash a picture of the signal (its grey values;
of a sound its log power by band and time) by the signs of its lowest frequencies: the DCT hash of Zauner 2010,
"Implementation and Benchmarking of Perceptual Image Hash Functions", with more frequencies. They detect a copy in
another format, quality, size, level or rate. They do not detect crops, mirror images or mixtures of sounds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32  # of the square that a signal is resized to
KEPT = 16  # lowest frequencies per axis
FLAT = 1e-6  # a deviation below this share of the mean counts as a constant signal
LOW, HIGH, BANDS = 150.0, 3500.0, 48  # Hz: a copy at 8 kHz holds them too
FRAME = 0.064  # seconds
FRAMES = 16 * SIDE  # at most this many, evenly spread
RANGE = 1e-3  # of power: anything further below the loudest counts as silent, as for encoders


def picture_hash(pixels: NDArray[np.uint8]) -> bytes | None:
    """32 bytes of (H, W, 3) or (H, W) uint8; None for a constant picture."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    return field_hash(grey)


def sound_hash(wave: NDArray[np.float32], rate: int) -> bytes | None:
    """32 bytes of a waveform (n,) at `rate`; None for a silent sound."""
    power = _square(_band_power(wave, rate))
    loudest = float(power.max())
    return None if loudest <= 0 else field_hash(np.log(power / loudest + RANGE))


def field_hash(field: NDArray[np.floating]) -> bytes | None:
    """The signs of the lowest frequencies of (H, W) numbers about their median; None for constant input."""
    square = _square(field)
    if float(square.std()) <= FLAT * max(abs(float(square.mean())), FLAT):
        return None
    low = _cosines() @ square.astype(np.float64) @ _cosines().T
    return np.packbits(low > np.median(low)).tobytes()


def _square(field: NDArray[np.floating]) -> NDArray[np.float32]:
    """(H, W) numbers as (SIDE, SIDE): means where there are more, interpolated where there are fewer."""
    picture = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The first rows of the DCT-II, (KEPT, SIDE)."""
    return np.cos(np.pi / SIDE * np.outer(np.arange(KEPT), np.arange(SIDE) + 0.5))


def _band_power(wave: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """(BANDS, T): power in bands of equal width on a logarithmic scale, in frames that overlap by half."""
    size = round(FRAME * rate)
    wave = np.pad(wave, (0, max(0, 2 * size - len(wave))))
    starts = np.arange(0, len(wave) - size + 1, size // 2)
    if len(starts) > FRAMES:
        starts = np.linspace(0, len(wave) - size, FRAMES).astype(np.int64)
    frames = wave[starts[:, None] + np.arange(size)] * np.hanning(size).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    below = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)  # power below each bin
    edges = np.geomspace(LOW, min(HIGH, rate / 2), BANDS + 1) * size / rate
    whole = np.minimum(edges.astype(np.int64), below.shape[1] - 2)
    part = edges - whole
    at_edges = below[:, whole] * (1 - part) + below[:, whole + 1] * part
    return np.diff(at_edges, axis=1).T

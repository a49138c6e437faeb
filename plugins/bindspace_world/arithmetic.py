"""Arithmetic that gives the same bits on every machine: IEEE operations and polynomials, elementwise, no library calls.

numpy's own sine and exponential differ in the last bit between processors, and a sum's order between array shapes, so
nothing in this package uses them: the golden hashes of a version then hold everywhere, and an event does not depend on
the other events of its batch.
"""

from __future__ import annotations

import zlib

import numpy as np

VERSION = 1

_WORD = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_TURN = (6.28318516, -41.34165503, 81.60100407, -76.54978229, 39.53670601)  # sin(2 pi x) by odd powers, |x| <= 1/4
_EXP2 = (1.0, 0.6931470007, 0.2402299230, 0.05548241317, 0.009681269132, 0.001241431149, 0.0002179599775)


def sine(turns: np.ndarray) -> np.ndarray:
    """sin(2 pi x) of an angle in turns; error below 1e-6."""
    return cosine(turns - 0.25)


def cosine(turns: np.ndarray) -> np.ndarray:
    """cos(2 pi x) of an angle in turns; error below 1e-6."""
    x = 0.25 - np.abs(turns - np.rint(turns))
    square = x * x
    value = _TURN[4] * square
    for factor in _TURN[3:0:-1]:
        value = (value + factor) * square
    return (value + _TURN[0]) * x


def exp2(x: np.ndarray) -> np.ndarray:
    """2 to the x, for x above -126 (below: as if it were -126)."""
    x = np.maximum(x, -126.0)
    whole = np.floor(x)
    rest = x - whole
    value = _EXP2[-1] * rest
    for factor in _EXP2[-2:0:-1]:
        value = (value + factor) * rest
    return np.ldexp(value + _EXP2[0], whole.astype(np.int32))


def log2(x: np.ndarray) -> np.ndarray:
    """The logarithm to base 2 of positive numbers, by the series of artanh."""
    mantissa, exponent = np.frexp(x)
    z = (mantissa - 0.70710678) / (mantissa + 0.70710678)
    square = z * z
    value = z * (1 + square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9 + square / 11)))))
    return exponent - 0.5 + 2.88539008 * value


def power(x: np.ndarray, exponent: float) -> np.ndarray:
    """x to a constant exponent, for positive x."""
    return exp2(exponent * log2(x))


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and a soft step between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _mix(word: np.ndarray) -> np.ndarray:
    """Scrambles 64-bit words in place (the finaliser of SplitMix64, Steele et al. 2014)."""
    word ^= word >> np.uint64(30)
    word *= np.uint64(0xBF58476D1CE4E5B9)
    word ^= word >> np.uint64(27)
    word *= np.uint64(0x94D049BB133111EB)
    word ^= word >> np.uint64(31)
    return word


def _mix_int(word: int) -> int:
    """The same of one Python int."""
    return int(_mix(np.array([word & _WORD], np.uint64))[0])


class Draws:
    """Random numbers of many events at once: a pure function of (version, seed, stream, event, number of the draw)."""

    def __init__(self, seed: int, stream: str, index: np.ndarray) -> None:
        base = _mix_int(zlib.crc32(stream.encode()) + (VERSION << 32))
        base = _mix_int(base + seed * _STEP)
        self.keys = _mix(np.asarray(index, np.uint64) * np.uint64(_STEP) + np.uint64(base))
        self.drawn = 0

    def words(self, count: int) -> np.ndarray:
        """The next 64-bit words: uint64 (N, count)."""
        number = np.arange(self.drawn + 1, self.drawn + count + 1, dtype=np.uint64) * np.uint64(_STEP)
        self.drawn += count
        return _mix(self.keys[:, None] + number)

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> np.ndarray:
        """Uniform numbers: float64 (N, *shape)."""
        count = int(np.prod(shape)) if shape else 1
        unit = (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).reshape(len(self.keys), *shape)

    def choice(self, options: int, *shape: int) -> np.ndarray:
        """Uniform integers below `options`: int64 (N, *shape)."""
        return np.floor(self.uniform(0, options, *shape)).astype(np.int64)

    def white(self, count: int) -> np.ndarray:
        """Uniform noise in [-1, 1): float32 (N, count)."""
        words = self.words(-(-count // 4)).astype("<u8", copy=False)
        return (words.view("<i2")[:, :count]).astype(np.float32) * np.float32(2.0**-15)

    def grain(self, count: int) -> np.ndarray:
        """Noise with a triangular distribution and unit variance: float32 (N, count)."""
        halves = self.white(2 * count)
        return (halves[:, :count] + halves[:, count:]) * np.float32(1.2247449)

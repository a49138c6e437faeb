"""The sound: 1.5 s at 16 kHz. Knocks and rubbing drive the modes of the object; the floor adds a band of noise.

Ten damped resonators for the object and two for the floor, stepped sample by sample for all events at once. Nothing
here reads colour or temperature: they are negative controls, and must stay so.
"""

from __future__ import annotations

import numpy as np

from . import motion
from .arithmetic import Draws, cosine, exp2, power
from .attributes import Events

RATE = 16000
SAMPLES = 24000
MODES = 10
_BANDS = 2
_STEP = 80  # samples; envelopes are straight between its multiples
_BLOCK = 40  # samples whose modes stay in the processor's cache
_PULSE = 72  # longest contact of a knock, in samples
_OCTAVE = 1.44269504  # 1 / ln 2
_QUIET = np.float32(1e-9)  # keeps what has died away above denormal numbers, which are a hundred times slower

#                     metal   wood   glass   rubber ceramic stone
_BASE = np.array([1150.0, 520.0, 1750.0, 150.0, 1050.0, 420.0])
_DAMPING = np.array([3.0, 22.0, 7.0, 55.0, 16.0, 60.0])
_DAMPING_HZ = np.array([0.0012, 0.012, 0.0022, 0.06, 0.005, 0.02])
_CONTACT = np.array([0.35, 0.9, 0.30, 3.2, 0.40, 0.6])  # length of a knock, ms
_TILT = np.array([0.25, 0.9, 0.2, 1.3, 0.45, 0.8])  # how fast overtones fade
_PITCH = np.array([1.0, 0.93, 1.08, 1.15, 0.85, 1.22])  # by shape
_RATIOS = np.array(
    [
        [1, 1.5, 2.0, 2.52, 3.03, 3.55, 4.07, 4.6, 5.1, 5.65],
        [1, 1.41, 1.73, 2.24, 2.45, 2.83, 3.0, 3.32, 3.61, 4.12],
        [1, 2.76, 5.40, 8.93, 13.3, 18.6, 2.74, 5.44, 8.8, 13.5],
        [1, 1.06, 1.9, 2.0, 2.95, 3.1, 4.1, 4.3, 5.4, 5.65],
        [1, 1.04, 2.83, 2.9, 5.42, 5.5, 8.7, 8.82, 12.5, 12.7],
        [1, 1.32, 4.2, 4.35, 6.9, 7.2, 10.4, 14.6, 10.8, 15.1],
    ]
)
#                    grass  sand   tile  planks
_BAND = np.array([1400.0, 3600.0, 5200.0, 260.0])
_BAND_WIDTH = np.array([0.45, 0.45, 0.40, 0.60])  # of the centre
_BAND_LEVEL = np.array([1.0, 1.0, 0.75, 1.2])
_FLOOR_DAMPING = np.array([1.8, 2.3, 1.0, 1.2])
_FLOOR_CONTACT = np.array([0.7, 1.0, 0.0, 0.15])  # added to the length of a knock, ms


def sounds(events: Events) -> np.ndarray:
    """The sounds of events: int16 (N, 24000)."""
    draws = events.draws("audio")
    frequency, decay, gain = _modes(events, draws)
    radius = exp2(-decay * (_OCTAVE / RATE))
    first = (2 * radius * cosine(frequency / RATE)).astype(np.float32).T.copy()
    second = (-radius * radius).astype(np.float32).T.copy()
    drive, noise = _knocks(events), _rub(events)
    wave = _resonate(first, second, gain.astype(np.float32).T.copy(), drive, noise, draws)
    peak = np.maximum(np.abs(wave).max(0), 1e-9)
    level = 0.28 * events.vigour_value * exp2(draws.uniform(-0.5, 0.5))
    hiss = level * exp2(-draws.uniform(38, 52) / 6.0206)
    wave = wave.T * (level / peak).astype(np.float32)[:, None] + draws.white(SAMPLES) * hiss.astype(np.float32)[:, None]
    return np.rint(np.clip(wave, -1, 1) * 32767).astype(np.int16)


def _modes(events: Events, draws: Draws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies in Hz, decays in 1/s, and gains of modes and bands: float64 (N, MODES + _BANDS)."""
    material, surface = events.material, events.surface
    base = _BASE[material] * power(0.46 / events.radius, 1.15) * _PITCH[events.shape] * draws.uniform(0.98, 1.02)
    frequency = base[:, None] * _RATIOS[events.shape] * draws.uniform(0.992, 1.008, MODES)
    decay = (_DAMPING[material, None] + _DAMPING_HZ[material, None] * frequency) * _FLOOR_DAMPING[surface, None]
    overtone = frequency / base[:, None]
    gain = power(overtone, -1.0) * _TILT[material, None] + (1 - _TILT[material, None]) * power(overtone, -0.3)
    gain = np.maximum(gain, 0.02) * draws.uniform(0.6, 1.4, MODES)
    gain = np.where(frequency < 7400, gain, 0)
    frequency = np.minimum(frequency, 7600)
    sine = np.sqrt(np.maximum(1 - np.square(cosine(frequency / RATE)), 1e-6))
    band = _BAND[surface, None] * np.array([0.82, 1.2]) * draws.uniform(0.96, 1.04, 1)
    width = band * _BAND_WIDTH[surface, None] * 3.0
    loud = _BAND_LEVEL[surface, None] * np.sqrt(width / 4000) * 0.05
    return (
        np.concatenate([frequency, band], 1),
        np.concatenate([decay, width], 1),
        np.concatenate([gain * sine, np.broadcast_to(loud, band.shape)], 1),
    )


def _knocks(events: Events) -> np.ndarray:
    """The force of the knocks: float32 (SAMPLES, N); a hard contact is short."""
    times, strengths = motion.impacts(events)
    contact = (_CONTACT[events.material] + _FLOOR_CONTACT[events.surface]) * (RATE / 1000)
    half = np.maximum(contact, 2.0)[:, None, None] / 2
    step = np.arange(_PULSE)
    along = (step + 0.5) / half - 1
    pulse = np.clip(1 - along * along, 0, None) * (0.75 / half)
    start = np.floor(times * RATE).astype(np.int64)
    place = (start[:, :, None] + step) * len(events) + np.arange(len(events))[:, None, None]
    force = np.zeros((SAMPLES + _PULSE) * len(events), np.float32)
    inside = np.broadcast_to((start < SAMPLES)[:, :, None] & (strengths > 0)[:, :, None] & (pulse > 0), place.shape)
    np.add.at(force, place[inside], (strengths[:, :, None] * pulse)[inside].astype(np.float32))
    return force.reshape(-1, len(events))[:SAMPLES]


def _rub(events: Events) -> tuple[np.ndarray, np.ndarray]:
    """Levels of noise at multiples of _STEP: on the object, and on the floor: float32 (SAMPLES / _STEP + 1, N) each."""
    count = SAMPLES // _STEP + 1
    rub = motion.rubbing(events, np.arange(count) * (_STEP / RATE))
    times, strengths = motion.impacts(events)
    burst = np.zeros((count + 1, len(events)))
    place = np.floor(times * (RATE / _STEP)).astype(np.int64) + 1
    inside = (place < count) & (strengths > 0)
    np.add.at(burst, (place[inside], np.nonzero(inside)[0]), strengths[inside])
    for k in range(1, count):
        burst[k] += 0.80 * burst[k - 1]
    return (rub.T * 0.09).astype(np.float32), (rub.T + 0.8 * burst[:count]).astype(np.float32)


def _resonate(
    first: np.ndarray, second: np.ndarray, gain: np.ndarray, force: np.ndarray, noise: tuple, draws: Draws
) -> np.ndarray:
    """Steps y[t] = x[t] + first y[t-1] + second y[t-2] for modes and bands (M, N): float32 (SAMPLES, N)."""
    modes, count = first.shape
    block = np.zeros((_BLOCK + 2, modes, count), np.float32)  # rows 0 and 1: the end of the last block
    rows = list(block)
    spare = np.empty((modes, count), np.float32)
    wave = np.zeros((SAMPLES, count), np.float32)
    for start in range(0, SAMPLES, _BLOCK):
        hiss = draws.white(_BLOCK).T
        rub, floor = (_between(level, start) for level in noise)
        struck, rubbed = force[start : start + _BLOCK] + (rub + _QUIET) * hiss, (floor + _QUIET) * hiss
        np.multiply(struck[:, None], gain[:MODES], out=block[2:, :MODES])
        np.multiply(rubbed[:, None], gain[MODES:], out=block[2:, MODES:])
        for before, last, new in zip(rows, rows[1:], rows[2:]):
            np.multiply(before, second, spare)
            np.add(new, spare, new)
            np.multiply(last, first, spare)
            np.add(new, spare, new)
        for mode in range(modes):  # not a reduction: its order depends on how many events there are
            wave[start : start + _BLOCK] += block[2:, mode]
        block[:2] = block[-2:]
    return wave


def _between(level: np.ndarray, start: int) -> np.ndarray:
    """The levels of one block, on straight lines between multiples of _STEP."""
    place = (start % _STEP + np.arange(_BLOCK, dtype=np.float32)) / np.float32(_STEP)
    before, after = level[start // _STEP], level[start // _STEP + 1]
    return before + (after - before) * place[:, None]

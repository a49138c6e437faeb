"""IMU signals of a sensor inside the object: 2 s at 100 Hz, acceleration in m/s^2 and rotation in rad/s."""

from __future__ import annotations

import numpy as np

from . import motion
from .arithmetic import Draws, cosine, exp2, sine
from .attributes import Events

RATE = 100
SAMPLES = 200
GRAVITY = 9.81
_TURN = 6.28318531
#                       metal wood glass rubber ceramic stone
_HARDNESS = np.array([1.0, 0.62, 0.95, 0.22, 0.9, 0.8])
#                     grass sand tile planks
_SOFTNESS = np.array([0.55, 0.40, 1.0, 0.85])
_ROUGHNESS = np.array([0.85, 0.45, 0.10, 0.28])
_DECAY = np.array([7.0, 16.0, 8.0, 24.0, 10.0, 30.0])  # of the ringing after a knock, in 1/s times 2 at 100 Hz


def inertials(events: Events) -> np.ndarray:
    """IMU windows: float32 (N, 200, 6): acceleration x y z, then rotation x y z. z is up at rest."""
    draws = events.draws("imu")
    t = np.arange(SAMPLES) / RATE
    acceleration = np.zeros((len(events), SAMPLES, 3))
    rotation = np.zeros((len(events), SAMPLES, 3))
    acceleration[..., 2] = GRAVITY
    for kind, move in enumerate((_bounce, _roll, _spin, _shake, _slide, _swing)):
        here = np.flatnonzero(events.motion == kind)
        if len(here):
            acceleration[here], rotation[here] = move(events.take(here), t)
    knock = _knocks(events)
    acceleration[..., 2] += knock
    acceleration[..., 0] += 0.35 * knock * events.direction[:, None]
    rough = motion.rubbing(events, t) * _ROUGHNESS[events.surface, None]
    acceleration += 2.6 * rough[..., None] * draws.grain(SAMPLES * 3).reshape(acceleration.shape)
    rotation += 0.35 * rough[..., None] * draws.grain(SAMPLES * 3).reshape(rotation.shape)
    return _measured(acceleration, rotation, draws)


def _measured(acceleration: np.ndarray, rotation: np.ndarray, draws: Draws) -> np.ndarray:
    """Turns both by the way the sensor is mounted, and adds gain, bias and noise."""
    angles = draws.uniform(-26 / 360, 26 / 360, 3)
    gain = draws.uniform(0.94, 1.06, 6)
    bias = draws.uniform(-1, 1, 6) * np.array([0.15, 0.15, 0.15, 0.03, 0.03, 0.03])
    noise = draws.grain(SAMPLES * 6).reshape(-1, SAMPLES, 6) * np.array([0.06, 0.06, 0.06, 0.012, 0.012, 0.012])
    both = [_turned(vector, angles) for vector in (acceleration, rotation)]
    signal = np.concatenate(both, 2) * gain[:, None] + bias[:, None] + noise
    return signal.astype(np.float32)


def _turned(vector: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rotates (N, T, 3) about x, then y, then z by angles (N, 3) in turns."""
    axes = [vector[..., i] for i in range(3)]
    for i in range(3):
        s, c = sine(angles[:, i])[:, None], cosine(angles[:, i])[:, None]
        j, k = (i + 1) % 3, (i + 2) % 3
        axes[j], axes[k] = c * axes[j] - s * axes[k], s * axes[j] + c * axes[k]
    return np.stack(axes, 2)


def _knocks(events: Events) -> np.ndarray:
    """Spikes of the knocks, and how they ring: (N, SAMPLES) in m/s^2; soft things hit longer and less hard."""
    times, strengths = motion.impacts(events)
    stiffness = _HARDNESS[events.material] * _SOFTNESS[events.surface]
    place = np.floor(times * RATE).astype(np.int64)
    spikes = np.zeros((len(events), SAMPLES + 8))
    part = times * RATE - place
    place = np.clip(place, 0, SAMPLES + 4)  # what comes later has no strength
    event = np.broadcast_to(np.arange(len(events))[:, None], place.shape)
    hit = strengths * (18 * (0.25 + stiffness))[:, None]
    np.add.at(spikes, (event, place), hit * (1 - part))
    np.add.at(spikes, (event, place + 1), hit * part)
    width = (1 - stiffness)[:, None]
    for _ in range(2):
        spikes[:, 1:] = spikes[:, 1:] * (1 - 0.5 * width) + spikes[:, :-1] * 0.5 * width
    ring = -0.75 * exp2(-_DECAY[events.material] * 0.02 * 1.4427)
    for k in range(1, spikes.shape[1]):
        spikes[:, k] += ring * spikes[:, k - 1]
    return spikes[:, :SAMPLES]


def _still(events: Events, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    acceleration = np.zeros((len(events), len(t), 3))
    acceleration[..., 2] = GRAVITY
    return acceleration, np.zeros_like(acceleration)


def _bounce(events: Events, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weightless in flight; at rest once the hops are too small."""
    acceleration, rotation = _still(events, t)
    times, strengths = motion.impacts(events)
    end = (times * (strengths > 0)).max(1)[:, None]
    acceleration[..., 2] = np.where(t < end, 0.4, GRAVITY)
    rotation[..., 1] = np.where(t < end, 1.2 * (events.vigour_value * events.direction)[:, None], 0)
    return acceleration, rotation


def _roll(events: Events, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gravity goes round in the body's frame."""
    acceleration, rotation = _still(events, t)
    rate = motion.rate(events)[:, None]
    turns = (rate * t + events.phase[:, None]) * events.direction[:, None]
    acceleration[..., 0], acceleration[..., 2] = GRAVITY * sine(turns), GRAVITY * cosine(turns)
    rotation[..., 1] = _TURN * rate * events.direction[:, None] * (1 + 0.12 * cosine(2 * turns))
    return acceleration, rotation


def _spin(events: Events, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fast rotation about the upright axis, with a wobble."""
    acceleration, rotation = _still(events, t)
    rate = motion.rate(events)[:, None]
    turns = rate * t + events.phase[:, None]
    acceleration[..., 0] = 0.12 * rate * rate * (1 + 0.1 * cosine(turns))
    rotation[..., 2] = _TURN * rate * events.direction[:, None]
    rotation[..., 0] = 0.5 * rate * cosine(turns)
    return acceleration, rotation


def _shake(events: Events, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    acceleration, rotation = _still(events, t)
    turns = motion.rate(events)[:, None] * t + events.phase[:, None]
    vigour = events.vigour_value[:, None]
    acceleration[..., 0] = 11 * vigour * vigour * sine(turns)
    rotation[..., 2] = 0.9 * vigour * cosine(turns) * events.direction[:, None]
    return acceleration, rotation


def _slide(events: Events, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Braked until it stands."""
    acceleration, rotation = _still(events, t)
    stop = (0.55 + 0.62 * events.vigour_value)[:, None]
    acceleration[..., 0] = np.where(t < stop, -2.4 * (events.vigour_value * events.direction)[:, None], 0)
    return acceleration, rotation


def _swing(events: Events, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """On a string: heaviest at the lowest point, twice a cycle."""
    acceleration, rotation = _still(events, t)
    rate = motion.rate(events)[:, None]
    turns = rate * t + 0.5 * events.phase[:, None]
    vigour = events.vigour_value[:, None]
    rotation[..., 1] = 2.4 * vigour * rate * sine(turns) * events.direction[:, None]
    acceleration[..., 2] += 2.6 * vigour * vigour * (sine(turns) * sine(turns) - 0.4)
    acceleration[..., 0] = 0.8 * vigour * cosine(turns) * events.direction[:, None]
    return acceleration, rotation

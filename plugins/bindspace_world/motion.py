"""The motion of the object: impacts in time (for sound and IMU), path and ghosts in space (for the cameras)."""

from __future__ import annotations

import numpy as np

from .arithmetic import cosine, sine
from .attributes import Events

BOUNCE, ROLL, SPIN, SHAKE, SLIDE, SWING = range(6)
SECONDS = 2.0
IMPACTS = 40
PATH = 160

RESTITUTION = np.array([0.55, 0.50, 0.45, 0.85, 0.40, 0.30])  # by material
FLOOR_BOUNCE = np.array([0.86, 0.72, 1.0, 0.96])  # grass, sand, tile, planks
BUMPS = np.array([1, 4, 2, 1, 1, 3])  # knocks in one revolution when rolling, by shape


def rate(events: Events) -> np.ndarray:
    """Cycles a second: revolutions, shakes or swings (bounces have no rate of their own: 1)."""
    relative = 0.46 / events.radius
    vigour = events.vigour_value
    table = np.stack(
        [
            np.ones_like(vigour),
            1.0 * vigour * (0.35 + 0.65 * relative),
            3.6 * vigour,
            3.2 * vigour,
            np.ones_like(vigour),
            0.78 * vigour,
        ]
    )
    return table[events.motion, np.arange(len(events))]


def impacts(events: Events) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and strengths of the knocks within `SECONDS`: float64 (N, IMPACTS); strength 0: no knock."""
    times = np.zeros((len(events), IMPACTS))
    strengths = np.zeros((len(events), IMPACTS))
    for motion, knock in enumerate((_bounces, _bumps, _ticks, _shakes, _push, _knocks)):
        here = np.flatnonzero(events.motion == motion)
        if len(here):
            times[here], strengths[here] = knock(events.take(here))
    strengths[(times < 0) | (times >= SECONDS)] = 0
    return times, strengths


def _bounces(events: Events) -> tuple[np.ndarray, np.ndarray]:
    restitution = RESTITUTION[events.material] * FLOOR_BOUNCE[events.surface]
    gap = 0.26 + 0.17 * events.vigour_value
    time, strength = 0.04 + 0.22 * events.phase, events.vigour_value.copy()
    times, strengths = np.zeros((2, len(events), IMPACTS))
    for k in range(IMPACTS):
        times[:, k] = time
        strengths[:, k] = np.where(strength > 0.03, strength, 0)
        strength = strength * restitution
        time = time + gap
        gap = np.maximum(gap * restitution, 0.004)
    return times, strengths


def _periodic(events: Events, per_cycle: np.ndarray | int, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    period = 1 / (rate(events) * per_cycle)
    times = (np.arange(IMPACTS) + events.phase[:, None]) * period[:, None]
    return times, np.broadcast_to(strength[:, None], times.shape).copy()


def _bumps(events: Events) -> tuple[np.ndarray, np.ndarray]:
    level = np.array([0.04, 0.55, 0.12, 0.22, 0.10, 0.50])[events.shape]
    return _periodic(events, BUMPS[events.shape], level * events.vigour_value)


def _ticks(events: Events) -> tuple[np.ndarray, np.ndarray]:
    return _periodic(events, 2, 0.16 * events.vigour_value)


def _shakes(events: Events) -> tuple[np.ndarray, np.ndarray]:
    times, strengths = _periodic(events, 2, 0.6 * events.vigour_value)
    strengths[:, 1::2] *= 0.6
    return times, strengths


def _push(events: Events) -> tuple[np.ndarray, np.ndarray]:
    times, strengths = np.zeros((2, len(events), IMPACTS))
    times[:, 0] = 0.03 + 0.12 * events.phase
    strengths[:, 0] = 0.35 * events.vigour_value
    return times, strengths


def _knocks(events: Events) -> tuple[np.ndarray, np.ndarray]:
    return _periodic(events, 2, 0.45 * events.vigour_value)


def rubbing(events: Events, t: np.ndarray) -> np.ndarray:
    """Strength of friction on the floor at the times `t` in seconds: float64 (N, len(t)), about 0..1.6."""
    turns = rate(events)[:, None] * t + events.phase[:, None]
    vigour = events.vigour_value[:, None]
    level = np.zeros((len(events), len(t)))
    motion = events.motion[:, None]
    wobble = np.where(np.isin(events.shape, (0, 2, 4)), 0.35, 0.75)[:, None]
    level = np.where(motion == ROLL, 0.62 * (1 - wobble * (0.5 + 0.5 * cosine(turns))), level)
    level = np.where(motion == SPIN, 0.16 * (1 + 0.25 * cosine(2 * turns)), level)
    level = np.where(motion == SHAKE, 0.10 * np.abs(cosine(turns)), level)
    stop = 0.55 + 0.62 * vigour
    level = np.where(motion == SLIDE, np.clip((stop - t) / 0.6, 0, 1) * np.clip(t / 0.05, 0, 1), level)
    pass_by = np.maximum(cosine(2 * turns - 0.5), 0)
    return np.where(motion == SWING, 0.42 * pass_by * pass_by, level) * vigour


def path(events: Events) -> np.ndarray:
    """The trail of a light on the object, relative to the object: float64 (N, PATH, 2), in half screens, y up."""
    points = np.zeros((len(events), PATH, 2))
    past = np.arange(PATH) / (PATH - 1)  # 0: now, 1: longest ago
    for motion, trail in enumerate((_arcs, _loops, _rings, _zigzag, _lines, _pendulum)):
        here = np.flatnonzero(events.motion == motion)
        if len(here):
            points[here, :, 0], points[here, :, 1] = trail(_Columns(events.take(here)), past[None])
    return points


class _Columns:
    """The continuous part of events as columns (N, 1)."""

    def __init__(self, events: Events) -> None:
        self.radius = events.radius[:, None]
        self.vigour = events.vigour_value[:, None]
        self.phase = events.phase[:, None]
        self.direction = events.direction[:, None]


def _hop(event: _Columns, past: np.ndarray) -> np.ndarray:
    turns = 0.12 * event.phase + (1.0 + 1.5 * event.vigour) * past
    part = turns - np.floor(turns)
    return (0.16 + 0.36 * event.vigour) * (0.4 + 0.6 * past) * 4 * part * (1 - part)


def _arcs(event: _Columns, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -1.3 * event.direction * past, _hop(event, past) - _hop(event, np.zeros((1, 1)))


def _loops(event: _Columns, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turns = event.phase + (0.6 + 1.1 * event.vigour) * past
    x = event.direction * (event.radius * 0.85 * sine(turns) - 1.35 * past)
    return x, event.radius * 0.85 * cosine(turns)


def _rings(event: _Columns, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turns = event.phase + (0.6 + 1.5 * event.vigour) * past
    x = event.direction * (1.12 * event.radius + 0.14) * cosine(turns)
    return x, event.radius * (1.5 * past - 0.75) + 0.22 * event.radius * sine(turns)


def _zigzag(event: _Columns, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turns = event.phase + (0.9 + 2.7 * event.vigour) * past
    triangle = 4 * np.abs(turns - np.floor(turns) - 0.5) - 1
    return event.direction * (0.08 + 0.15 * event.vigour) * triangle, 0.6 * event.radius + 0.8 * past


def _lines(event: _Columns, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lane = np.arange(PATH) % 3
    along = (0.45 + 0.6 * event.vigour) * past * np.array([1.0, 0.8, 0.9])[lane]
    return -event.direction * (event.radius * 0.6 + along), event.radius * np.array([-0.75, 0.05, -0.35])[lane]


def _pendulum(event: _Columns, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    swing = 0.02 + 0.055 * event.vigour  # amplitude in turns
    now = event.direction * swing * (0.35 + 0.5 * event.phase)
    angle = event.direction * swing * (1 - 2 * past)
    return STRING * (sine(angle) - sine(now)), STRING * (cosine(now) - cosine(angle))


STRING = 1.35


def lean(events: Events) -> np.ndarray:
    """Sideways lean of the object due to its motion, in turns: float64 (N,)."""
    angle = np.zeros(len(events))
    rolled = sine(events.phase) * 0.055
    angle = np.where(events.motion == ROLL, rolled, angle)
    swing = 0.02 + 0.055 * events.vigour_value
    angle = np.where(events.motion == SWING, events.direction * swing * (0.35 + 0.5 * events.phase), angle)
    return np.where(events.motion == SLIDE, -0.015 * events.direction, angle)


def lift(events: Events) -> np.ndarray:
    """Height of the object above its floor, in half screens: float64 (N,)."""
    part = 0.12 * events.phase
    hop = (0.16 + 0.36 * events.vigour_value) * 0.4 * 4 * part * (1 - part)
    return np.where(events.motion == SWING, 0.22, np.where(events.motion == BOUNCE, hop, 0.0))


GHOSTS = 3


def ghosts(events: Events) -> tuple[np.ndarray, np.ndarray]:
    """Previous positions of the object: offsets (N, GHOSTS, 2) in half screens, y up, and opacities (N, GHOSTS)."""
    event = _Columns(events)
    offset = np.zeros((len(events), GHOSTS, 2))
    step = np.arange(1, GHOSTS + 1)[None]
    away = -event.direction * step * (0.10 + 0.20 * event.vigour)
    motion = events.motion[:, None]
    past = step * 0.2
    x, y = _arcs(event, past)
    offset[..., 0] = np.where(motion == BOUNCE, x, 0)
    offset[..., 1] = np.where(motion == BOUNCE, y, 0)
    offset[..., 0] = np.where((motion == ROLL) | (motion == SLIDE), away, offset[..., 0])
    shake = (0.08 + 0.15 * event.vigour) * np.array([[-1.0, 1.0, 0.4]])
    offset[..., 0] = np.where(motion == SHAKE, shake, offset[..., 0])
    x, y = _pendulum(event, 0.3 + past)
    offset[..., 0] = np.where(motion == SWING, x, offset[..., 0])
    offset[..., 1] = np.where(motion == SWING, y, offset[..., 1])
    opacity = np.broadcast_to(np.array([[0.42, 0.3, 0.2]]), (len(events), GHOSTS)).copy()
    opacity[events.motion == SPIN] = 0
    return offset, opacity

"""Camera positions, and the pixels that see the object. Screens are two units wide; x to the right, y up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import motion
from .arithmetic import Draws, cosine
from .attributes import RADIUS, Events
from .geometry import BOTTOM, TORUS, Frame, Surface, frame, intersect

_REACH = (0.96, 1.27, 1.08, 1.19, 0.98, 1.40)  # of a shape, in radii
_ZOOM = 0.06


@dataclass(frozen=True)
class Camera:
    """A camera for each event: it follows the object, which is therefore near the middle."""

    pixels: int
    view: Frame
    centre: np.ndarray  # (N, 2) of the object
    radius: np.ndarray  # (N,) of the object, on the screen
    zoom: np.ndarray  # (N,)
    ground: np.ndarray  # (N,) y of the floor below the object
    horizon: np.ndarray  # (N,) y where the floor ends

    def take(self, which: np.ndarray) -> Camera:
        """The cameras of a selection of events."""
        arrays = (self.centre, self.radius, self.zoom, self.ground, self.horizon)
        return Camera(self.pixels, self.view.take(which), *(array[which] for array in arrays))


def camera(events: Events, draws: Draws, pixels: int) -> Camera:
    """Draws a camera for each event."""
    elevation = draws.uniform(0.035, 0.07)
    yaw, tilt = draws.uniform(), draws.uniform(-0.02, 0.02)
    yaw = np.where(events.shape == TORUS, (yaw - 0.5) * 0.24, yaw)
    zoom = draws.uniform(1 - _ZOOM, 1 + _ZOOM)
    centre = draws.uniform(-0.09, 0.09, 2)
    radius = events.radius * zoom
    ground = centre[:, 1] - radius * BOTTOM[events.shape] * cosine(elevation) - motion.lift(events) * zoom
    horizon = draws.uniform(0.22, 0.46)
    # A body that leans to the right turns clockwise.
    return Camera(pixels, frame(yaw, tilt - motion.lean(events), elevation), centre, radius, zoom, ground, horizon)


def axes(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Screen coordinates of pixel columns and rows: float32 (pixels,) each."""
    x = (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / pixels) - 1
    return x, -x


@dataclass(frozen=True)
class Patch:
    """A square of pixels round the objects of some events of one shape and size."""

    which: np.ndarray  # which events
    surface: Surface
    left: np.ndarray  # first column and row on the screen; may lie outside
    top: np.ndarray


def patches(events: Events, seen: Camera, shading: bool = True) -> Iterator[Patch]:
    """The objects, in groups of one shape and size so that a group shares the size of its patch."""
    for shape, reach in enumerate(_REACH):
        for size, largest in enumerate(RADIUS):
            which = np.flatnonzero((events.shape == shape) & (events.size == size))
            if not len(which):
                continue
            side = int(seen.pixels * largest * 1.07 * (1 + _ZOOM) * reach) + 3
            left, top = (np.floor((seen.centre[which] * [1, -1] + 1) * (seen.pixels / 2) - side / 2).astype(int)).T
            yield Patch(which, _trace(shape, seen, which, left, top, side, shading), left, top)


def _trace(
    shape: int, seen: Camera, which: np.ndarray, left: np.ndarray, top: np.ndarray, side: int, shading: bool
) -> Surface:
    step = np.arange(side) + 0.5
    x = ((left[:, None] + step) * (2 / seen.pixels) - 1 - seen.centre[which, 0, None]) / seen.radius[which, None]
    y = (1 - (top[:, None] + step) * (2 / seen.pixels) - seen.centre[which, 1, None]) / seen.radius[which, None]
    return intersect(shape, seen.view.take(which), x.astype(np.float32), y.astype(np.float32), shading)


def window(left: int, top: int, side: int, pixels: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a patch that is on the screen: slices (rows, columns) of the screen, and of the patch."""
    x0, x1, y0, y1 = max(left, 0), min(left + side, pixels), max(top, 0), min(top + side, pixels)
    x1, y1 = max(x1, x0), max(y1, y0)
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def splat(points: np.ndarray, weight: np.ndarray, pixels: int, width: float) -> np.ndarray:
    """Soft dots: float32 (N, pixels, pixels) in 0..1 from points (N, K, 2), weights (N, K) and a width in pixels."""
    count = len(points)
    canvas = np.zeros((count, pixels + 8, pixels + 8), np.float32)
    x = ((points[..., 0] + 1) * (pixels / 2) - 0.5).astype(np.float32)
    y = ((1 - points[..., 1]) * (pixels / 2) - 0.5).astype(np.float32)
    x, y = np.clip(x, -2, pixels + 1), np.clip(y, -2, pixels + 1)
    column, row = np.rint(x), np.rint(y)
    dx, dy = column - x, row - y
    event = np.arange(count)[:, None] * (canvas.shape[1] * canvas.shape[2])
    place = event + (row.astype(np.int64) + 4) * canvas.shape[2] + column.astype(np.int64) + 4
    reach = 1 if width < 1.5 else 2
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            distance = np.sqrt((dx + j) * (dx + j) + (dy + i) * (dy + i))
            level = np.clip(np.float32(width) + np.float32(0.5) - distance, 0, 1) * weight
            np.maximum.at(canvas.reshape(-1), place + i * canvas.shape[2] + j, level.astype(np.float32))
    return canvas[:, 4:-4, 4:-4]

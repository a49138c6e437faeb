"""The six shapes, hit by parallel rays: exact intersections, batched over events of one shape.

A view frame holds three unit vectors in the object's coordinates (y up): `right`, `up` and `toward` the viewer. A pixel
(x, y), in radii of the object, sees the point x * right + y * up + z * toward with the greatest z that is inside.
Shapes: N events, P x P pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arithmetic import cosine, sine

SPHERE, CUBE, CYLINDER, CONE, TORUS, PYRAMID = range(6)
FAR = np.float32(1e4)

_CUBE = [
    ((1, 0, 0), 0.72),
    ((-1, 0, 0), 0.72),
    ((0, 1, 0), 0.72),
    ((0, -1, 0), 0.72),
    ((0, 0, 1), 0.72),
    ((0, 0, -1), 0.72),
]
_SLOPE, _FLAT = 0.8574929, 0.5144958  # normal of a pyramid's side: height 1.5, half a base .9
_PYRAMID = [
    ((_SLOPE, _FLAT, 0), 0.80 * _FLAT),
    ((-_SLOPE, _FLAT, 0), 0.80 * _FLAT),
    ((0, _FLAT, _SLOPE), 0.80 * _FLAT),
    ((0, _FLAT, -_SLOPE), 0.80 * _FLAT),
    ((0, -1, 0), 0.70),
]
_PLANES: dict[int, list] = {CUBE: _CUBE, PYRAMID: _PYRAMID}
_BALL = 0.92
_CAN = (0.62, 0.86)  # radius, half of the height
_HORN = (0.84, 0.82)  # radius of the base, half of the height
_RING = (0.66, 0.30)  # radius of the ring, radius of its tube
BOTTOM = np.array([0.92, 0.72, 0.86, 0.82, 0.96, 0.70])  # how far each shape reaches below its centre


@dataclass(frozen=True)
class Frame:
    """View frames: float32 (N, 3) each."""

    right: np.ndarray
    up: np.ndarray
    toward: np.ndarray

    def take(self, which: np.ndarray) -> Frame:
        """A selection of events."""
        return Frame(self.right[which], self.up[which], self.toward[which])


@dataclass(frozen=True)
class Surface:
    """Ray intersections: float32 (N, P, P) each; `normal` in view coordinates, `point` in the object's."""

    mask: np.ndarray  # bool
    z: np.ndarray
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]
    point: tuple[np.ndarray, np.ndarray, np.ndarray]


def frame(yaw: np.ndarray, tilt: np.ndarray, elevation: np.ndarray) -> Frame:
    """View frame from angles in turns: yaw about the object's axis, tilt sideways, elevation of the camera."""
    sy, cy, st, ct, se, ce = sine(yaw), cosine(yaw), sine(tilt), cosine(tilt), sine(elevation), cosine(elevation)
    right = (ct * cy, -st, ct * sy)
    upright = (st * cy, ct, st * sy)
    front = (-sy, np.zeros_like(sy), cy)
    up = [ce * u - se * f for u, f in zip(upright, front)]
    toward = [se * u + ce * f for u, f in zip(upright, front)]
    return Frame(*(np.stack(axis, 1).astype(np.float32) for axis in (right, up, toward)))


def intersect(shape: int, view: Frame, x: np.ndarray, y: np.ndarray, shading: bool = True) -> Surface:
    """Sends rays through pixels with coordinates x and y (N, P), in radii. Without `shading`: only mask and z."""
    if shape in _PLANES:
        mask, z, normal = _polyhedron(_PLANES[shape], view, x, y)
    else:
        mask, z, normal = {SPHERE: _sphere, CYLINDER: _cylinder, CONE: _cone, TORUS: _torus}[shape](view, x, y)
    if not shading:
        return Surface(mask, z, (z, z, z), (z, z, z))
    z = np.clip(z, -2, 2)  # rays that miss may be anywhere
    point = _point(view, x, y, z)
    return Surface(mask, z, normal(point), point)


def _point(view: Frame, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(_plane(view, i, x, y) + z * view.toward[:, i, None, None] for i in range(3))


def _plane(view: Frame, i: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coordinate i of the point of each ray at z = 0."""
    return (y * view.up[:, i, None])[:, :, None] + (x * view.right[:, i, None])[:, None, :]


def _to_view(view: Frame, normal: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A vector field in the object's coordinates, in view coordinates."""
    a, b, c = normal
    axes = (view.right, view.up, view.toward)
    return tuple(a * v[:, 0, None, None] + b * v[:, 1, None, None] + c * v[:, 2, None, None] for v in axes)


def _polyhedron(planes: list, view: Frame, x: np.ndarray, y: np.ndarray) -> tuple:
    """A convex body: its front is the nearest of the planes that face the viewer, its back the farthest of the rest."""
    front = np.full((len(x), y.shape[1], x.shape[1]), FAR, np.float32)
    back = -front
    which = np.zeros(front.shape, np.int8)
    normals = []
    for i, (n, offset) in enumerate(planes):
        a, b, c = (
            (v[:, 0] * n[0] + v[:, 1] * n[1] + v[:, 2] * n[2])[:, None] for v in (view.right, view.up, view.toward)
        )
        normals.append(np.concatenate([a, b, c], 1))
        c = np.where(np.abs(c) < 1e-3, np.float32(1e-3), c)
        column, row, faces = (np.float32(offset) - b * y) / c, -a * x / c, c > 0
        if faces.any():
            z = (column + np.where(faces, 0, FAR).astype(np.float32))[:, :, None] + row[:, None, :]
            which[z < front] = i
            np.minimum(front, z, out=front)
        if not faces.all():
            z = (column - np.where(faces, FAR, 0).astype(np.float32))[:, :, None] + row[:, None, :]
            np.maximum(back, z, out=back)
    table = np.stack(normals, 1)  # (N, planes, 3)

    def normal(_: tuple) -> tuple:
        event = np.arange(len(x))[:, None, None]
        return tuple(table[event, which, axis] for axis in range(3))

    return (front > back) & (front < 100), front, normal


def _sphere(view: Frame, x: np.ndarray, y: np.ndarray) -> tuple:
    height = (np.float32(_BALL * _BALL) - y * y)[:, :, None] - (x * x)[:, None, :]
    z = np.sqrt(np.maximum(height, 0))

    def normal(_: tuple) -> tuple:
        scale = np.float32(1 / _BALL)
        return (
            np.broadcast_to((x * scale)[:, None, :], z.shape),
            np.broadcast_to((y * scale)[:, :, None], z.shape),
            z * scale,
        )

    return height > 0, z, normal


def _quadratic(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether a z^2 + 2 b z + c <= 0 somewhere, and the greatest and least such z."""
    inner = b * b - a * c
    root = np.sqrt(np.maximum(inner, 0))
    inverse = 1 / a
    return inner > 0, (root - b) * inverse, (-root - b) * inverse


def _cylinder(view: Frame, x: np.ndarray, y: np.ndarray) -> tuple:
    radius, half = np.float32(_CAN[0]), np.float32(_CAN[1])
    qx, qy, qz = (_plane(view, i, x, y) for i in range(3))
    cx, cy, cz = (view.toward[:, i, None, None] for i in range(3))
    inside, front, back = _quadratic(cx * cx + cz * cz, qx * cx + qz * cz, qx * qx + qz * qz - radius * radius)
    lid, floor = (half - qy) / cy, (-half - qy) / cy
    z = np.minimum(front, lid)

    def normal(point: tuple) -> tuple:
        top = lid < front
        side = ~top / radius
        return _to_view(view, (point[0] * side, top.astype(np.float32), point[2] * side))

    return inside & (z > np.maximum(back, floor)), z, normal


def _cone(view: Frame, x: np.ndarray, y: np.ndarray) -> tuple:
    base, half = np.float32(_HORN[0]), np.float32(_HORN[1])
    k = base / (2 * half)
    qx, qy, qz = (_plane(view, i, x, y) for i in range(3))
    cx, cy, cz = (view.toward[:, i, None, None] for i in range(3))
    rest = half - qy
    a = cx * cx + cz * cz - k * k * cy * cy
    inside, z, back = _quadratic(a, qx * cx + qz * cz + k * k * rest * cy, qx * qx + qz * qz - k * k * rest * rest)
    z = np.where(inside, z, 0)
    floor = (-half - qy) / cy

    def normal(point: tuple) -> tuple:
        slant = 1 / (np.maximum(half - point[1], 0.02) * (k * np.sqrt(1 + k * k)))
        flat = np.full_like(slant, k / np.sqrt(1 + k * k))
        return _to_view(view, (point[0] * slant, flat, point[2] * slant))

    return inside & (z > np.maximum(back, floor)) & (qy + z * cy < half), z, normal


def _torus(view: Frame, x: np.ndarray, y: np.ndarray) -> tuple:
    """Sphere tracing: a step toward the ring never goes through it."""
    ring, tube = np.float32(_RING[0]), np.float32(_RING[1])
    px, py, pz = (_plane(view, i, x, y) for i in range(3))
    cx, cy, cz = (view.toward[:, i, None, None] for i in range(3))
    z = np.full_like(px, 1.05)
    px, py, pz = px + z * cx, py + z * cy, pz + z * cz
    for _ in range(14):
        around = np.sqrt(px * px + py * py) - ring
        step = np.sqrt(around * around + pz * pz) - tube
        np.minimum(step, 4, out=step)
        z -= step
        px -= step * cx
        py -= step * cy
        pz -= step * cz

    def normal(point: tuple) -> tuple:
        around = np.maximum(np.sqrt(point[0] * point[0] + point[1] * point[1]), 1e-3)
        radial = (1 - ring / around) / tube
        return _to_view(view, (point[0] * radial, point[1] * radial, point[2] / tube))

    return (step < 0.04) & (z > -1.2), z, normal

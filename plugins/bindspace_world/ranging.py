"""Depth maps (48 x 48, millimetres) and thermal images (32 x 32, centikelvin) of an event."""

from __future__ import annotations

import numpy as np

from . import motion
from .arithmetic import smoothstep
from .attributes import Events
from .camera import Camera, Patch, axes, camera, patches, window
from .picture import string, trail

DEPTH_PIXELS = 48
THERMAL_PIXELS = 32
_OBJECT_MM = 700.0  # of one half screen along the view
#                     metal wood glass rubber ceramic stone
_EMISSIVITY = np.array([0.35, 0.92, 0.72, 1.0, 0.84, 0.96])
_OBJECT_KELVIN = np.array([-17.0, 9.0, 36.0])  # cold, mild, hot; above the room
_FLOOR_KELVIN = np.array([-6.0, 4.0, -2.5, 0.8])  # grass, sand, tile, planks; above the room
_ROOM_KELVIN = 294.0


def depths(events: Events) -> np.ndarray:
    """Depth maps: uint16 (N, 48, 48) in millimetres along the view, 0 where there is no reading."""
    draws = events.draws("depth")
    seen = camera(events, draws, DEPTH_PIXELS)
    wall = draws.uniform(3600, 4300).astype(np.float32)
    slope = draws.uniform(1.0, 1.15) * 3.0e-4
    _, y = axes(DEPTH_PIXELS)
    below = np.maximum(seen.horizon[:, None] - y, 0)
    ground = 1 / (1 / wall[:, None] + slope[:, None] * below)
    canvas = np.repeat(ground.astype(np.float32)[:, :, None], DEPTH_PIXELS, 2)
    stands = 1 / (1 / wall + slope * np.maximum(seen.horizon - seen.ground, 0.05))
    sparse = draws.white(DEPTH_PIXELS * DEPTH_PIXELS).reshape(canvas.shape)
    groups = list(patches(events, seen, shading=False))
    for patch in groups:
        _ghost_readings(canvas, patch, events, seen, stands, sparse)
    for patch in groups:
        z = (stands[patch.which] - 120)[:, None, None] - patch.surface.z * (seen.radius[patch.which] * _OBJECT_MM)[
            :, None, None
        ]
        for i, event in enumerate(patch.which):
            screen, inside = window(int(patch.left[i]), int(patch.top[i]), z.shape[1], DEPTH_PIXELS)
            np.copyto(
                canvas[(event, *screen)], z[(i, *inside)], where=patch.surface.mask[(i, *inside)], casting="same_kind"
            )
    noise = draws.grain(DEPTH_PIXELS * DEPTH_PIXELS).reshape(canvas.shape)
    canvas += noise * (draws.uniform(2.0, 3.5).astype(np.float32)[:, None, None] * canvas * canvas * np.float32(1e-6))
    canvas[draws.white(DEPTH_PIXELS * DEPTH_PIXELS).reshape(canvas.shape) < -0.97] = 0
    return np.rint(np.clip(canvas, 0, 65535)).astype(np.uint16)


def _ghost_readings(
    canvas: np.ndarray, patch: Patch, events: Events, seen: Camera, stands: np.ndarray, sparse: np.ndarray
) -> None:
    """A moving object leaves single readings, or none, at its previous positions."""
    offset, strength = motion.ghosts(events.take(patch.which))
    step = np.rint(offset * seen.zoom[patch.which, None, None] * (DEPTH_PIXELS / 2)).astype(int)
    side = patch.surface.mask.shape[1]
    for i, event in enumerate(patch.which):
        for k in reversed(range(motion.GHOSTS)):
            if strength[i, k] == 0:
                continue
            screen, inside = window(
                int(patch.left[i] + step[i, k, 0]), int(patch.top[i] - step[i, k, 1]), side, DEPTH_PIXELS
            )
            chance = sparse[(event, *screen)]
            hit = patch.surface.mask[(i, *inside)] & (chance < 2 * strength[i, k] - 1 + 0.25)
            canvas[(event, *screen)][hit] = np.where(chance[hit] < -0.75, 0, stands[event] - 100)


def thermals(events: Events) -> np.ndarray:
    """Thermal images: uint16 (N, 32, 32) in centikelvin."""
    draws = events.draws("thermal")
    seen = camera(events, draws, THERMAL_PIXELS)
    room = _ROOM_KELVIN + draws.uniform(-3, 3)
    warmth = _OBJECT_KELVIN[events.temperature] * draws.uniform(0.85, 1.15) * _EMISSIVITY[events.material]
    _, y = axes(THERMAL_PIXELS)
    below = np.clip((seen.horizon[:, None] - y) * (THERMAL_PIXELS / 2) + 0.5, 0, 1)
    floor = _FLOOR_KELVIN[events.surface] * draws.uniform(0.85, 1.15)
    canvas = np.repeat((room[:, None] + below * floor[:, None]).astype(np.float32)[:, :, None], THERMAL_PIXELS, 2)
    rubbed = 4.0 * np.minimum(events.vigour_value, 1.3)
    canvas += trail(events, seen, 1.0) * rubbed.astype(np.float32)[:, None, None]
    object_kelvin = (room + warmth).astype(np.float32)
    _hang(canvas, events, seen, room)
    for patch in patches(events, seen):
        _warm(canvas, patch, events, seen, object_kelvin)
    noise = draws.grain(THERMAL_PIXELS * THERMAL_PIXELS).reshape(canvas.shape)
    canvas += noise * draws.uniform(0.25, 0.45).astype(np.float32)[:, None, None]
    return np.rint(np.clip(canvas * 100, 0, 65535)).astype(np.uint16)


def _warm(canvas: np.ndarray, patch: Patch, events: Events, seen: Camera, kelvin: np.ndarray) -> None:
    """Ghosts, then the object: its face radiates more than its rim."""
    offset, strength = motion.ghosts(events.take(patch.which))
    step = np.rint(offset * seen.zoom[patch.which, None, None] * (THERMAL_PIXELS / 2)).astype(int)
    side = patch.surface.mask.shape[1]
    face = patch.surface.mask * (0.72 + 0.28 * smoothstep(patch.surface.normal[2] * 1.3))
    face = face.astype(np.float32)
    for i, event in enumerate(patch.which):
        for k in (*reversed(range(motion.GHOSTS)), -1):
            dx, dy = (0, 0) if k < 0 else step[i, k]
            share = np.float32(1.0 if k < 0 else 0.8 * strength[i, k])
            screen, inside = window(int(patch.left[i] + dx), int(patch.top[i] - dy), side, THERMAL_PIXELS)
            target = canvas[(event, *screen)]
            target += (kelvin[event] - target) * (face[(i, *inside)] * share)


def _hang(canvas: np.ndarray, events: Events, seen: Camera, room: np.ndarray) -> None:
    """The string has the room's temperature, less a little."""
    hanging = np.flatnonzero(events.motion == motion.SWING)
    if len(hanging):
        part = Camera(
            THERMAL_PIXELS, seen.view, seen.centre[hanging], seen.radius, seen.zoom, seen.ground, seen.horizon
        )
        rope = string(events.take(hanging), part, 0.5) * np.float32(0.6)
        canvas[hanging] += ((room[hanging, None, None] - 4).astype(np.float32) - canvas[hanging]) * rope

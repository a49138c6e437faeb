"""The image: 64 x 64 RGB. Behind the object are its floor, shadow, dust, ghosts and trail; nothing is before it."""

from __future__ import annotations

import numpy as np

from . import motion
from .arithmetic import Draws, cosine, smoothstep
from .attributes import Events
from .camera import Camera, Patch, axes, camera, patches, splat, window
from .materials import COLOURS, HOT, lattice, paint

PIXELS = 64
GRASS, SAND, TILE, PLANKS = range(4)
_FLOOR = np.array(  # the two colours of each floor
    [
        [[0.10, 0.26, 0.06], [0.36, 0.62, 0.20]],
        [[0.66, 0.56, 0.34], [0.96, 0.87, 0.62]],
        [[0.52, 0.60, 0.66], [0.95, 0.97, 0.98]],
        [[0.24, 0.12, 0.05], [0.62, 0.38, 0.19]],
    ],
    np.float32,
)
_TRAIL = np.array([1.0, 0.98, 0.82], np.float32)
_DUST = np.array([0.90, 0.88, 0.84], np.float32)
_GLOW = np.array([1.0, 0.38, 0.06], np.float32)
_DUST_GRAINS = 26


def pictures(events: Events) -> np.ndarray:
    """The images of events: uint8 (N, 64, 64, 3)."""
    draws = events.draws("image")
    seen = camera(events, draws, PIXELS)
    light = _light(draws)
    colour = (COLOURS[events.colour] * draws.uniform(0.90, 1.08, 1) + draws.uniform(-0.04, 0.04, 3)).astype(np.float32)
    exposure = draws.uniform(0.86, 1.12, 1) * draws.uniform(0.96, 1.04, 3)
    salt = (draws.words(1)[:, 0] >> np.uint64(40)).astype(np.uint32)
    canvas = _background(events, seen, draws)
    canvas *= 1 - np.float32(0.45) * _shadow(seen)[:, None]
    _dust(canvas, events, seen, draws)
    painted = [_painted(patch, events, colour, light, salt) for patch in patches(events, seen)]
    for group in painted:
        _place_ghosts(canvas, group, events, seen)
    _glow(canvas, events, seen)
    _draw_trail(canvas, events, seen)
    for group in painted:
        _place(canvas, group)
    noise = draws.grain(3 * PIXELS * PIXELS).reshape(canvas.shape)
    canvas *= exposure.astype(np.float32)[:, :, None, None]
    canvas += noise * draws.uniform(0.008, 0.022).astype(np.float32)[:, None, None, None]
    canvas = np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(canvas.transpose(0, 2, 3, 1))


def _light(draws: Draws) -> np.ndarray:
    """Unit vectors toward a light above and before the object: float32 (N, 3)."""
    x, y, z = draws.uniform(-0.6, 0.6), draws.uniform(0.5, 0.9), draws.uniform(0.5, 0.9)
    return (np.stack([x, y, z], 1) / np.sqrt(x * x + y * y + z * z)[:, None]).astype(np.float32)


def _background(events: Events, seen: Camera, draws: Draws) -> np.ndarray:
    """Wall and floor: float32 (N, 3, 64, 64)."""
    _, y = axes(PIXELS)
    wall = (0.62 + draws.uniform(-0.14, 0.14, 1) + draws.uniform(-0.10, 0.10, 3)).astype(np.float32)
    fade = draws.uniform(0.0, 0.25).astype(np.float32)[:, None] * (y - seen.horizon[:, None].astype(np.float32))
    below = np.clip((seen.horizon[:, None].astype(np.float32) - y) * np.float32(PIXELS / 2) + 0.5, 0, 1)[
        :, None, :, None
    ]
    tint = (1 + draws.uniform(-0.10, 0.10, 1) + draws.uniform(-0.04, 0.04, 3)).astype(np.float32)[:, :, None, None]
    pattern = _floor(events, seen, draws)[:, None]
    dark, bright = (_FLOOR[events.surface, i][:, :, None, None] for i in range(2))
    floor = (dark + (bright - dark) * pattern) * tint
    back = wall[:, :, None, None] + fade[:, None, :, None]
    return back + (floor - back) * below


def _floor(events: Events, seen: Camera, draws: Draws) -> np.ndarray:
    """The pattern 0..1 of each event's floor: float32 (N, 64, 64)."""
    x, y = axes(PIXELS)
    below = np.maximum(seen.horizon[:, None].astype(np.float32) - y, 0.02)
    far = 1 / (below + np.float32(0.30))  # perspective: distance along the floor
    shift = draws.uniform(0, 1, 2).astype(np.float32)
    salt = (draws.words(1)[:, 0] >> np.uint64(40)).astype(np.uint32)
    noise = draws.white(PIXELS * PIXELS).reshape(-1, PIXELS, PIXELS)
    pattern = np.empty_like(noise)
    for surface, draw in enumerate((_grass, _sand, _tile, _planks)):
        here = np.flatnonzero(events.surface == surface)
        if len(here):
            along = (far[here] + shift[here, 1, None])[:, :, None]
            across = x[None, None, :] * far[here][:, :, None] + shift[here, 0, None, None]
            pattern[here] = draw(across, along, noise[here], salt[here])
    return pattern


def _grass(across: np.ndarray, along: np.ndarray, noise: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Upright blades: noise smeared upward."""
    blades = noise.copy()
    for step, weight in ((1, 0.9), (2, 0.6), (3, 0.4)):
        blades[:, :-step] += np.float32(weight) * noise[:, step:]
    return np.clip(0.42 + 0.34 * blades, 0, 1)


def _sand(across: np.ndarray, along: np.ndarray, noise: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Grains on flat ripples."""
    return np.clip(0.6 + 0.22 * noise + 0.16 * cosine(along * 3.0 + 0.35 * across), 0, 1)


def _tile(across: np.ndarray, along: np.ndarray, noise: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """A chequered floor."""
    odd = np.floor(across * 2.2) + np.floor(along * 2.6)
    return np.clip((odd - 2 * np.floor(odd * 0.5)) * 0.9 + 0.05 + 0.03 * noise, 0, 1)


def _planks(across: np.ndarray, along: np.ndarray, noise: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Boards that run toward the viewer's left and right, each of one tone, with dark gaps."""
    row = along * 4.2
    board = np.floor(row)
    gap = np.abs(row - board - 0.5) > 0.40
    joint = across * 0.55 + 0.37 * board
    tone = lattice([np.floor(joint) + 0.5, board + 0.5], 1.0, salt)
    seam = np.abs(joint - np.floor(joint) - 0.5) > 0.47
    streaks = 0.10 * cosine(row * 2.5 + 0.7 * across)
    return np.where(gap | seam, 0.0, np.clip(0.45 + 0.42 * tone + streaks + 0.05 * noise, 0, 1)).astype(np.float32)


def _shadow(seen: Camera) -> np.ndarray:
    """An ellipse on the floor below the object."""
    x, y = axes(PIXELS)
    dx = ((x - seen.centre[:, :1]) / (seen.radius[:, None] * 1.05)).astype(np.float32)
    dy = ((y - seen.ground[:, None] - 0.02) / (seen.radius[:, None] * 0.34)).astype(np.float32)
    return smoothstep(1.5 - 1.2 * ((dy * dy)[:, :, None] + (dx * dx)[:, None, :]))


def _dust(canvas: np.ndarray, events: Events, seen: Camera, draws: Draws) -> None:
    """Dust of a vigorous motion on both sides of the object."""
    side = np.where(np.arange(_DUST_GRAINS) % 2, 1.0, -1.0)
    out, high = draws.uniform(0, 1, _DUST_GRAINS), draws.uniform(0, 1, _DUST_GRAINS)
    x = seen.centre[:, :1] + side * (seen.radius[:, None] * 0.75 + 0.42 * out)
    y = seen.ground[:, None] + 0.04 + (0.10 + 0.40 * events.vigour_value[:, None] * (1 - out)) * high
    strength = np.clip(2.4 * (events.vigour_value - 0.95), 0, 1)[:, None] * (1 - 0.4 * out)
    strong = np.flatnonzero(events.vigour_value > 0.95)
    mask = splat(np.stack([x, y], 2)[strong], strength[strong], PIXELS, 1.8)[:, None] * np.float32(0.85)
    canvas[strong] += (_DUST[None, :, None, None] - canvas[strong]) * mask


def _painted(patch: Patch, events: Events, colour: np.ndarray, light: np.ndarray, salt: np.ndarray) -> tuple:
    which = patch.which
    rgb, opacity = paint(
        patch.surface, colour[which], events.material[which], events.temperature[which], light[which], salt[which]
    )
    return patch, rgb, opacity.astype(np.float32)


def _place(canvas: np.ndarray, group: tuple) -> None:
    """Draws the objects."""
    patch, rgb, opacity = group
    for i, event in enumerate(patch.which):
        screen, inside = window(int(patch.left[i]), int(patch.top[i]), rgb.shape[2], PIXELS)
        target = canvas[(event, slice(None), *screen)]
        target += (rgb[(i, slice(None), *inside)] - target) * opacity[(i, *inside)]


def _place_ghosts(canvas: np.ndarray, group: tuple, events: Events, seen: Camera) -> None:
    """Draws the objects where they were a moment ago, the oldest first and faintest."""
    patch, rgb, opacity = group
    offset, strength = motion.ghosts(events.take(patch.which))
    step = np.rint(offset * seen.zoom[patch.which, None, None] * (PIXELS / 2)).astype(int)
    strength = strength.astype(np.float32)
    for i, event in enumerate(patch.which):
        for k in reversed(range(motion.GHOSTS)):
            if strength[i, k] == 0:
                continue
            left, top = int(patch.left[i] + step[i, k, 0]), int(patch.top[i] - step[i, k, 1])
            screen, inside = window(left, top, rgb.shape[2], PIXELS)
            target = canvas[(event, slice(None), *screen)]
            target += (rgb[(i, slice(None), *inside)] - target) * (opacity[(i, *inside)] * strength[i, k])


def trail(events: Events, seen: Camera, width: float) -> np.ndarray:
    """The trail of the light on the object: float32 (N, pixels, pixels)."""
    points = motion.path(events) * seen.zoom[:, None, None] + seen.centre[:, None]
    fade = np.broadcast_to(1 - 0.35 * np.arange(motion.PATH) / motion.PATH, points.shape[:2])
    return splat(points, fade.astype(np.float32), seen.pixels, width)


def string(events: Events, seen: Camera, width: float) -> np.ndarray:
    """The string of what swings: float32 (M, pixels, pixels), for those events alone."""
    along = np.arange(48) / 47
    angle = motion.lean(events)[:, None]
    x = seen.centre[:, :1] - motion.STRING * motion.sine(angle) * along
    y = seen.centre[:, 1:] + motion.STRING * cosine(angle) * along
    return splat(np.stack([x, y], 2), np.ones(x.shape, np.float32), seen.pixels, width)


def _draw_trail(canvas: np.ndarray, events: Events, seen: Camera) -> None:
    """A light line with a dark edge, to be seen on any floor; and the string."""
    line = trail(events, seen, 0.8)
    edge = line.copy()
    np.maximum(edge[:, 1:], line[:, :-1], out=edge[:, 1:])
    np.maximum(edge[:, :-1], line[:, 1:], out=edge[:, :-1])
    np.maximum(edge[:, :, 1:], line[:, :, :-1], out=edge[:, :, 1:])
    np.maximum(edge[:, :, :-1], line[:, :, 1:], out=edge[:, :, :-1])
    edge, line = edge * np.float32(0.45), line * np.float32(0.95)
    left = 1 - line
    canvas *= ((1 - edge) * left)[:, None]
    canvas += (np.float32(0.12) * edge * left)[:, None] + _TRAIL[:, None, None] * line[:, None]
    hanging = np.flatnonzero(events.motion == motion.SWING)
    if len(hanging):
        rope = string(events.take(hanging), seen.take(hanging), 0.7)[:, None]
        canvas[hanging] += (np.float32(0.08) - canvas[hanging]) * rope


def _glow(canvas: np.ndarray, events: Events, seen: Camera) -> None:
    """The halo of what is hot."""
    hot = np.flatnonzero(events.temperature == HOT)
    x, y = axes(PIXELS)
    dx = ((x - seen.centre[hot, :1]) / seen.radius[hot, None]).astype(np.float32)
    dy = ((y - seen.centre[hot, 1:]) / seen.radius[hot, None]).astype(np.float32)
    away = np.sqrt((dy * dy)[:, :, None] + (dx * dx)[:, None, :])
    halo = smoothstep((1.5 - away) * 1.4)[:, None] * np.float32(0.65)
    canvas[hot] += (_GLOW[None, :, None, None] - canvas[hot]) * halo

"""The appearance of a surface: texture, gloss and transparency of a material, frost and glow of a temperature."""

from __future__ import annotations

import numpy as np

from .arithmetic import cosine, smoothstep
from .geometry import Surface

METAL, WOOD, GLASS, RUBBER, CERAMIC, STONE = range(6)
COLD, MILD, HOT = range(3)

COLOURS = np.array(  # red, orange, yellow, green, blue, purple
    [
        [0.86, 0.10, 0.10],
        [0.98, 0.50, 0.06],
        [0.96, 0.88, 0.14],
        [0.12, 0.66, 0.16],
        [0.12, 0.26, 0.92],
        [0.58, 0.14, 0.78],
    ],
    np.float32,
)
#                      metal wood  glass rubber ceramic stone
_DIFFUSE = np.array([0.30, 0.75, 0.45, 0.45, 0.55, 0.80], np.float32)
_AMBIENT = np.array([0.22, 0.35, 0.45, 0.35, 0.50, 0.30], np.float32)
_GLOSS = np.array([0.75, 0.0, 0.9, 0.0, 0.85, 0.0], np.float32)
_MIRROR = np.array([0.85, 0.0, 0.10, 0.0, 0.12, 0.0], np.float32)
_CLEAR = np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.0], np.float32)  # light in the rim
_OPACITY = np.array([1.0, 1.0, 0.42, 1.0, 1.0, 1.0], np.float32)
_STAIN = np.array(  # what the pattern of the texture is painted with, and how much of the colour is left under it
    [[0.5, 0.5, 0.5], [0.20, 0.10, 0.03], [1.0, 1.0, 1.0], [0.05, 0.05, 0.06], [0.97, 0.96, 0.93], [0.42, 0.41, 0.40]],
    np.float32,
)
_STAINED = np.array([0.0, 0.62, 0.25, 0.92, 0.90, 0.85], np.float32)
_ICE = np.array([0.86, 0.94, 1.0], np.float32)
_EMBER = np.array([1.0, 0.42, 0.10], np.float32)


def paint(
    surface: Surface,
    colour: np.ndarray,
    material: np.ndarray,
    temperature: np.ndarray,
    light: np.ndarray,
    salt: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N, 3, P, P) and opacity (N, P, P) of surfaces; `light` (N, 3) is toward it, `salt` uint32 (N,) seeds."""

    def of(table: np.ndarray) -> np.ndarray:
        return table[material][:, None, None]

    nx, ny, nz = surface.normal
    stain = _texture(surface, material, salt) * of(_STAINED)
    lx, ly, lz = (light[:, i, None, None] for i in range(3))
    lit = of(_AMBIENT) + of(_DIFFUSE) * np.maximum(nx * lx + ny * ly + nz * lz, 0)
    gloss = of(_GLOSS) * _highlight(surface.normal, light)
    mirror = of(_MIRROR)
    shine = mirror * _reflection(surface)
    lit = lit * (1 - 0.6 * mirror) + shine
    rim = 1 - np.clip(nz, 0, 1)
    added = gloss + of(_CLEAR) * rim
    rgb = np.empty((len(material), 3, *rim.shape[1:]), np.float32)
    for i in range(3):
        base = colour[:, i, None, None]
        rgb[:, i] = (base + (_STAIN[material, i][:, None, None] - base) * stain) * lit + added
    covered = np.maximum(gloss, rim * rim)
    hot, cold = np.flatnonzero(temperature == HOT), np.flatnonzero(temperature == COLD)
    rgb[hot] += _EMBER[:, None, None] * (0.2 + 0.6 * rim[hot] * rim[hot])[:, None]
    frost = _frost(surface, cold, salt)
    rgb[cold] += (_ICE[:, None, None] - rgb[cold]) * frost[:, None]
    covered[cold] = np.maximum(covered[cold], frost)
    opacity = of(_OPACITY) + (1 - of(_OPACITY)) * np.minimum(covered, 1)
    return rgb, opacity * surface.mask


def _highlight(normal: tuple, light: np.ndarray) -> np.ndarray:
    """The highlight of a light on gloss: the cosine to the half vector, to the 24th."""
    half = light + np.array([0, 0, 1], np.float32)
    half = half / np.sqrt(half[:, 0] * half[:, 0] + half[:, 1] * half[:, 1] + half[:, 2] * half[:, 2])[:, None]
    x, y, z = (half[:, i, None, None] for i in range(3))
    cosine = np.clip(normal[0] * x + normal[1] * y + normal[2] * z, 0, 1)
    cosine = cosine * cosine
    cosine = cosine * cosine
    cosine = cosine * cosine
    return cosine * cosine * cosine


def _reflection(surface: Surface) -> np.ndarray:
    """A mirrored sky, a dark horizon, a floor; near things move over a flat face, so position counts too."""
    _, ny, nz = surface.normal
    up = 2 * nz * ny + 0.55 * surface.point[1] + 0.25 * surface.point[0]
    return 0.10 + 1.25 * smoothstep(up * 2.6 + 0.35) + 0.5 * smoothstep(-0.9 - 1.6 * up)


def _texture(surface: Surface, material: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """The pattern 0..1 of each event's material."""
    pattern = np.zeros_like(surface.z)
    for kind, draw in ((WOOD, _grain), (GLASS, _none), (RUBBER, _tread), (CERAMIC, _glaze), (STONE, _speckle)):
        here = np.flatnonzero(material == kind)
        if len(here):
            pattern[here] = draw([axis[here] for axis in surface.point], salt[here])
    return pattern


def _none(point: list, salt: np.ndarray) -> np.ndarray:
    return np.zeros_like(point[0])


def _grain(point: list, salt: np.ndarray) -> np.ndarray:
    """Year rings round an axis beside the middle."""
    x, y, z = point[0] + 0.55, point[1] * 0.22, point[2] - 0.4
    rings = np.sqrt(x * x + z * z) + y
    return smoothstep(0.5 + 0.75 * cosine(rings * 3.4))


def _tread(point: list, salt: np.ndarray) -> np.ndarray:
    """Broad black bands."""
    return smoothstep(0.5 + 3 * cosine(point[1] * 1.45 + 0.30))


def _glaze(point: list, salt: np.ndarray) -> np.ndarray:
    """White dots on glaze."""
    dots = cosine(point[0] * 1.7 + 0.1) * cosine(point[1] * 1.7) * cosine(point[2] * 1.7 + 0.1)
    return smoothstep(np.abs(dots) * 4.5 - 1.1)


def _speckle(point: list, salt: np.ndarray) -> np.ndarray:
    """Grains, each of one grey."""
    return lattice(point, 4.6, salt)


def lattice(point: list, cells: float, salt: np.ndarray) -> np.ndarray:
    """One random number 0..1 for each cell of a cubic lattice."""
    word = salt.astype(np.uint32)[:, None, None]
    for axis, factor in zip(point, (0x8DA6B343, 0xD8163841, 0xCB1AB31F)):
        cell = np.clip(np.floor(axis * np.float32(cells)), -64, 64).astype(np.int32).view(np.uint32)
        word = word ^ (cell * np.uint32(factor))
    word = (word ^ (word >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    word = (word ^ (word >> np.uint32(12))) * np.uint32(0x297A2D39)
    return (word >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _frost(surface: Surface, cold: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Ice on the events `cold`: thick on what faces up, in patches elsewhere, and on the rim."""
    ny, nz = surface.normal[1][cold], surface.normal[2][cold]
    patches = lattice([axis[cold] for axis in surface.point], 3.1, salt[cold] + np.uint32(17))
    thick = 0.12 + 0.55 * smoothstep(ny * 1.6 - 0.35) + 0.55 * (patches > 0.72) + 0.5 * (1 - np.clip(nz, 0, 1))
    return np.minimum(thick, 0.88)

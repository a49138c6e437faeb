"""The attributes of an event, and the sampling of event k of a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arithmetic import Draws

ATTRIBUTES = {
    "shape": ("sphere", "cube", "cylinder", "cone", "torus", "pyramid"),
    "material": ("metal", "wood", "glass", "rubber", "ceramic", "stone"),
    "size": ("small", "medium", "large"),
    "motion": ("bouncing", "rolling", "spinning", "shaking", "sliding", "swinging"),
    "vigour": ("gently", "vigorously"),
    "surface": ("grass", "sand", "tile", "planks"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple"),
    "temperature": ("cold", "mild", "hot"),
}
HELD_OUT = (4, 2, 0, 5, 1, 3)  # held-out combinations: shape i with this material; each shape once, each material once
RADIUS = (0.34, 0.46, 0.62)  # of half a screen
VIGOUR = ((0.65, 0.95), (1.25, 1.6))


@dataclass(frozen=True)
class Events:
    """Events of one seed, one entry each: labels as indices into `ATTRIBUTES`, and continuous values behind them."""

    seed: int
    index: np.ndarray  # int64: the event's number under its seed
    shape: np.ndarray
    material: np.ndarray
    size: np.ndarray
    motion: np.ndarray
    vigour: np.ndarray
    surface: np.ndarray
    colour: np.ndarray
    temperature: np.ndarray
    radius: np.ndarray  # of half a screen
    vigour_value: np.ndarray  # gently .65-.95, vigorously 1.25-1.6
    phase: np.ndarray  # 0..1, where in its cycle the motion is
    direction: np.ndarray  # -1 or 1: to the left or to the right

    def __len__(self) -> int:
        """The number of events."""
        return len(self.index)

    def take(self, which: np.ndarray) -> Events:
        """A selection of these events."""
        arrays = {name: value[which] for name, value in vars(self).items() if name != "seed"}
        return Events(seed=self.seed, **arrays)

    def draws(self, stream: str) -> Draws:
        """Nuisance of these events, independent between streams."""
        return Draws(self.seed, stream, self.index)

    def labels(self, i: int) -> dict[str, str]:
        """The attribute words of event i of this selection."""
        return {name: values[int(getattr(self, name)[i])] for name, values in ATTRIBUTES.items()}

    def concept(self, i: int) -> int:
        """A coarse class 0..9 of event i of this selection: a fixed function of shape and material."""
        return int(6 * self.shape[i] + self.material[i]) % 10


def draw_events(seed: int, index: np.ndarray, combinations: str) -> Events:
    """The events of these numbers. `combinations`: `seen`, `held_out` or `all` pairs of shape and material."""
    index = np.asarray(index, np.int64)
    draws = Draws(seed, "event", index)
    count = {name: len(values) for name, values in ATTRIBUTES.items()}
    shape = draws.choice(count["shape"])
    material = _material(draws.uniform(), shape, combinations, count["material"])
    other = {name: draws.choice(count[name]) for name in ATTRIBUTES if name not in ("shape", "material")}
    low, high = np.array(VIGOUR)[other["vigour"]].T
    return Events(
        seed=seed,
        index=index,
        shape=shape,
        material=material,
        **other,
        radius=np.array(RADIUS)[other["size"]] * draws.uniform(0.93, 1.07),
        vigour_value=low + (high - low) * draws.uniform(),
        phase=draws.uniform(),
        direction=np.where(draws.uniform() < 0.5, -1.0, 1.0),
    )


def _material(unit: np.ndarray, shape: np.ndarray, combinations: str, materials: int) -> np.ndarray:
    """The material beside a shape, from one uniform number."""
    held_out = np.array(HELD_OUT)[shape]
    if combinations == "held_out":
        return held_out
    if combinations == "all":
        return np.floor(unit * materials).astype(np.int64)
    other = np.floor(unit * (materials - 1)).astype(np.int64)
    return other + (other >= held_out)

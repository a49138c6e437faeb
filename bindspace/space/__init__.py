"""The space: towers and temperatures, saved as a folder without code and loaded again. No Lightning, no Hydra."""

from bindspace.space.bundle import WEIGHTS, load, read_settings, save
from bindspace.space.merging import merge_space
from bindspace.space.space import Space, Tower, evaluating
from bindspace.space.temperature import Temperature

__all__ = ["WEIGHTS", "Space", "Temperature", "Tower", "evaluating", "load", "merge_space", "read_settings", "save"]

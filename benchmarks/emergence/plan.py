"""Recipes of the emergence experiments, and what a run of one is called."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
EXPERIMENTS = HERE.parents[1] / "conf" / "experiment"
FIELDS = {"group", "about", "train", "extends", "keep", "measured", "row", "over"}


@dataclass(frozen=True)
class Recipe:
    """One `bindspace train`: its overrides, and the recipe whose space it extends."""

    name: str
    group: str
    about: str
    train: tuple[str, ...]
    extends: Recipe | None = None
    keep: tuple[str, ...] = ()  # of the extended space, these modalities only; none: all
    measured: bool = False  # on the test pools too: a row of the final tables
    row: str = ""  # what it is called in the table of README and page; empty: it has no row there
    over: str = "supervised"  # the reference of its ratios

    @property
    def key(self) -> str:
        """Eight hex digits of the overrides, their experiments and what is kept: a changed recipe is another run."""
        chain = [[*each.train, *_experiments(each.train), *each.keep] for each in self.chain]
        return hashlib.sha256(json.dumps(chain).encode()).hexdigest()[:8]

    @property
    def chain(self) -> list[Recipe]:
        """This recipe and those that it builds on, the first one first."""
        return [*(self.extends.chain if self.extends else []), self]

    def folder(self, out: Path, seed: int) -> Path:
        """The folder of a run."""
        return out / f"{self.name}-{self.key}-seed{seed}"


def _experiments(train: tuple[str, ...]) -> list[str]:
    """The content of the experiment files that the overrides select, without comments."""
    names = [override.removeprefix("experiment=") for override in train if override.startswith("experiment=")]
    files = [EXPERIMENTS / f"{name}.yaml" for name in names]
    return [json.dumps(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files]


def read_recipes(path: Path = HERE / "recipes.yaml") -> dict[str, Recipe]:
    """The recipes of a file by name, in its order. Raises ValueError for a field or a name that does not exist."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    common, found = tuple(content["common"]), {}
    for name, fields in content["recipes"].items():
        if wrong := set(fields) - FIELDS:
            raise ValueError(f"{path}: recipe {name!r} has {sorted(wrong)}: expected {sorted(FIELDS)}")
        parent = fields.pop("extends", None)
        if parent is not None and parent not in found:
            raise ValueError(f"{path}: recipe {name!r} extends {parent!r}, which must be listed before it")
        train, keep = (*common, *fields.pop("train")), tuple(fields.pop("keep", ()))
        found[name] = Recipe(name=name, train=train, extends=found.get(parent), keep=keep, **fields)
    if lost := [recipe.name for recipe in found.values() if recipe.row and recipe.over not in found]:
        raise ValueError(f"{path}: recipe {lost[0]!r} has a row over {found[lost[0]].over!r}, which does not exist")
    return found

"""Recipes of the emergence experiments, and what a run of one is called."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
FIELDS = {"group", "about", "train", "extends", "measured"}


@dataclass(frozen=True)
class Recipe:
    """One `bindspace train`: its overrides, and the recipe whose space it extends."""

    name: str
    group: str
    about: str
    train: tuple[str, ...]
    extends: Recipe | None = None
    measured: bool = False  # on the test pools too: a row that stays

    @property
    def key(self) -> str:
        """Eight hex digits of all that decides the weights beside the seed: a changed recipe is another run."""
        chain = [recipe.train for recipe in self.chain]
        return hashlib.sha256(json.dumps(chain).encode()).hexdigest()[:8]

    @property
    def chain(self) -> list[Recipe]:
        """This recipe and those that it builds on, the first one first."""
        return [*(self.extends.chain if self.extends else []), self]

    def folder(self, out: Path, seed: int) -> Path:
        """Where a run of it goes."""
        return out / f"{self.name}-{self.key}-seed{seed}"


def read_recipes(path: Path = HERE / "recipes.yaml") -> dict[str, Recipe]:
    """The recipes of a file by name, in its order. Raises ValueError for a field or a name that does not exist."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    common, found = tuple(content["common"]), {}
    for name, fields in content["recipes"].items():
        if wrong := set(fields) - FIELDS:
            raise ValueError(f"{path}: recipe {name!r} has {sorted(wrong)}: expected {sorted(FIELDS)}")
        parent = fields.pop("extends", None)
        if parent is not None and parent not in found:
            raise ValueError(f"{path}: recipe {name!r} extends {parent!r}, which has to stand before it")
        train = (*common, *fields.pop("train"))
        found[name] = Recipe(name=name, train=train, extends=found.get(parent), **fields)
    return found

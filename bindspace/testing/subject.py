"""The plugin under test with objects shared by its checks: examples, samples, a batch, a space. Built once each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from bindspace.contract import Head, ModalityConfig, PluginError, registry, unknown
from bindspace.space import Space, Tower, evaluating

SEED = 0
CONCEPTS = 10
SAMPLES = 12  # shared by the checks: all concepts, two of them twice
ROWS = 4  # samples of a batch
DIM = 16  # of the space, unless the head fixes it
CLOSE = 1e-4  # tolerance for components of unit vectors

T = TypeVar("T")


def _once(build: Callable[[Any], T]) -> property:
    """A property that is built once; an error is cached too, so that it is reported once."""

    @wraps(build)
    def get(self: Subject) -> T:
        name = build.__name__
        if name not in self._built:
            try:
                self._built[name] = (build(self), None)
            except Exception as error:
                self._built[name] = (None, error)
        value, failure = self._built[name]
        if failure is not None:
            raise failure
        return value

    return property(get)


class Subject:
    """One implementation, built with its `small` settings, overridden by those given.

    Raises `PluginError` for a plugin that is not installed or does not load, and for an unknown setting.
    """

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None) -> None:
        self.plugin = registry.find(name)
        config_class: type[ModalityConfig] = registry.load(name)
        values = {**config_class.small, **(settings or {})}
        known = [item.name for item in fields(config_class)]
        for setting in values:
            if setting not in known:
                raise PluginError(unknown(f"setting of {name} (in its `small`, or given)", setting, known))
        self.config = config_class(**values)
        self.told: list[tuple[Exception, str]] = []
        self._built: dict[str, tuple[Any, Exception | None]] = {}
        source = Path(inspect.getfile(config_class)).resolve()
        self._home = source.parent if source.name == "__init__.py" else source

    @property
    def name(self) -> str:
        """Its modality."""
        return self.config.modality

    def owns(self, file: str) -> bool:
        """Whether a source file is the plugin's."""
        return Path(file).resolve().is_relative_to(self._home)

    def example(self, concept: int, seed: int) -> tuple[Any, dict[str, Any]]:
        """A generated (source, info)."""
        return self.config.example(np.random.default_rng([SEED, seed]), concept)

    def made(self, count: int, seed: int) -> tuple[list[Any], Tensor]:
        """Samples read from examples, all concepts in turn, and their concepts (count,)."""
        concepts = [index % CONCEPTS for index in range(count)]
        samples = [self.config.read(*self.example(c, 1000 * seed + i)) for i, c in enumerate(concepts)]
        return samples, torch.tensor(concepts)

    @_once
    def samples(self) -> list[Any]:
        """`SAMPLES` examples after `read`."""
        return self.made(SAMPLES, seed=0)[0]

    @_once
    def batch(self) -> dict[str, Tensor]:
        """The batch of the first `ROWS` samples from `prepare` in evaluation."""
        return self.config.prepare(self.samples[:ROWS])

    @_once
    def encoder(self) -> nn.Module:
        """A trunk with random weights, in evaluation mode."""
        return self.tower.encoder

    @_once
    def space(self) -> Space:
        """A space of this one modality, in evaluation mode."""
        torch.manual_seed(SEED)
        return Space({self.name: self.config}, self.dim, self.name).eval()

    @property
    def tower(self) -> Tower:
        """Encoder and head of `space`."""
        tower = self.space.towers[self.name]
        assert isinstance(tower, Tower)
        return tower

    @property
    def dim(self) -> int:
        """The dim of the space: a head `identity` fixes it."""
        return self.config.width if self.config.head is Head.identity else DIM

    def new_tower(self) -> Tower:
        """Another tower with the same random weights, for training."""
        torch.manual_seed(SEED)
        return Tower(self.config, self.dim, pretrained=False)

    def vectors(self, samples: list[Any], **training: Any) -> Tensor:
        """Unit vectors (n, dim) of samples prepared together. `training`: seeds and augment."""
        with torch.no_grad(), evaluating(self.tower):
            return self.tower(**self.config.prepare(samples, **training))

    def encoder_members(self, part: str) -> list[Any]:
        """The location for a failure of the encoder: its `forward`, if it could be built."""
        if part != "encoder":
            return []
        try:
            return [type(self.encoder).forward, type(self.encoder)]
        except Exception:  # reported by the check that built it first
            return []


def rows_of(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The arguments of the encoder's `forward`: the batch without `owner`."""
    return {key: value for key, value in batch.items() if key != "owner"}


def same(a: Any, b: Any) -> bool:
    """Whether two values are bitwise identical: arrays, tensors, collections of them, or anything with `==`."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and same(a.numpy(force=True), b.numpy(force=True))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        alike = type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
        return alike and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)

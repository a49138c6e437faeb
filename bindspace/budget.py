"""A bound on the memory that building a module may ask for, before any of it is given. Torch only."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class OverBudget(ValueError):
    """Raised in the place of an allocation that would exceed the budget."""


class Budget(TorchDispatchMode):
    """Within it, new tensors may take at most so many bytes and be at most so many, all together.

    Settings of a stranger's file decide how large a tower is built; weights of the same file bound how large it can
    rightly be. What a factory (`empty`, `randn`, `arange`, ...) would return is worked out on the meta device first.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.size = size
        self.count = count

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Runs the operation, after counting what it is about to allocate."""
        kwargs = kwargs or {}
        if "device" in kwargs or _is_factory(func):
            self._spend(func(*args, **{**kwargs, "device": torch.device("meta"), "pin_memory": False}))
        return func(*args, **kwargs)

    def _spend(self, planned: Any) -> None:
        if isinstance(planned, torch.Tensor):
            self.size -= planned.numel() * planned.element_size()
            self.count -= 1
        if self.size < 0 or self.count < 0:
            raise OverBudget("it asks for far more memory than the weights in the file have")


def _is_factory(func: Any) -> bool:
    names = [argument.name for argument in func._schema.arguments]
    return "device" in names and "self" not in names

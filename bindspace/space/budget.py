"""A bound on the memory that building a module may ask for, before any of it is given. Torch only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_SHAPED = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint}
_SHAPED |= {Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full, Tensor.repeat}
_LINES = {torch.arange, torch.linspace, torch.logspace, torch.randperm}
_LINES |= {torch.hann_window, torch.hamming_window, torch.blackman_window, torch.bartlett_window, torch.kaiser_window}
_SQUARES = {torch.eye, torch.tril_indices, torch.triu_indices}
_LARGEST_ELEMENT = 8  # bytes


class OverBudget(ValueError):
    """Raised in the place of an allocation that would exceed the budget."""


class Budget(TorchFunctionMode):
    """Within it, tensors made from numbers alone may take at most `size` bytes and be at most `count`, all together.

    Settings of a stranger's file decide how large a tower is built; the weights in the same file bound how large it can
    rightly be. What is counted is an upper bound by arithmetic: building on the meta device would be exact, but costs
    seconds of imports, and constructors that look at values do not work on it.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.size = size
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Runs the function, after counting what it is about to allocate."""
        kwargs = kwargs or {}
        if func in _SHAPED or func in _LINES or func in _SQUARES:
            self.size -= _LARGEST_ELEMENT * _elements(func, (*args, *kwargs.values()))
            self.count -= 1
            if self.size < 0 or self.count < 0:
                raise OverBudget("they ask for far more memory than the weights in the file have")
        return func(*args, **kwargs)


def _elements(func: Any, values: Iterable[Any]) -> int:
    """At most so many elements has what the function returns."""
    values = list(values)
    numbers = [value for value in values if type(value) in (int, float)]
    if func in _SHAPED:
        shapes = [value for value in values if isinstance(value, list | tuple)]
        return math.prod(map(int, shapes[0] if shapes else numbers))
    largest = max((abs(number) for number in numbers), default=0)
    if func in _SQUARES:
        return int(largest) ** 2
    step = min((abs(number) for number in numbers if number), default=1) if func is torch.arange else 1
    return int(2 * largest / min(step, 1)) + 1

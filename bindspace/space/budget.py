"""A bound on the memory that building a module may allocate, checked before allocation. Torch only."""

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
    """Raised instead of an allocation that would exceed the budget."""


class Budget(TorchFunctionMode):
    """Context in which tensors created from sizes may take at most `size` bytes and be at most `count` in total.

    The settings of an untrusted file determine the size of a tower; the weights in the same file bound the legitimate
    size. The count is an arithmetic upper bound: building on the meta device would be exact, but costs seconds of
    imports, and constructors that read values do not work on it.
    """

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.size = size
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Runs the function after counting its allocation."""
        kwargs = kwargs or {}
        if func in _SHAPED or func in _LINES or func in _SQUARES:
            self.size -= _LARGEST_ELEMENT * _elements(func, (*args, *kwargs.values()))
            self.count -= 1
            if self.size < 0 or self.count < 0:
                raise OverBudget("they need far more memory than the weights in the file")
        return func(*args, **kwargs)


def _elements(func: Any, values: Iterable[Any]) -> int:
    """An upper bound of the number of elements that the function returns."""
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

"""Settings that change how towers are computed, not what: compilation, activation checkpointing, channels last.

Each holds for the block of `faster` only, so that what is saved and measured afterwards is the plain tower.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bindspace.contract import UserError
from bindspace.settings import TrainerSettings
from bindspace.space import Space, Tower

COMPILERS = ("g++", "clang++", "c++")


@contextmanager
def faster(space: Space, settings: TrainerSettings, trained: Iterable[str]) -> Iterator[None]:
    """Within the block the encoders of `trained` modalities are computed as the settings say.

    A setting that changes nothing for any of them warns. Raises `UserError` where `compile` finds no compiler.
    """
    towers: dict[str, Tower] = {name: space.towers[name] for name in trained}  # type: ignore[misc]
    with ExitStack() as stack:
        if settings.channels_last:
            _each(stack, "channels_last", "convolution", towers, _channels_last)
        if settings.checkpoint_activations:
            _each(stack, "checkpoint_activations", "encoder.blocks", towers, _checkpointed)
        if settings.compile:
            _check_compiler(space.device.type)
            for tower in towers.values():
                stack.enter_context(_compiled(tower.encoder))
        yield


def _each(stack: ExitStack, setting: str, lacking: str, towers: dict[str, Tower], change: Any) -> None:
    """Applies a change to each tower; warns where it changes nothing."""
    changed = [stack.enter_context(change(tower.encoder)) for tower in towers.values()]
    if not any(changed):
        names = ", ".join(towers)
        warnings.warn(f"trainer.{setting} has no effect: no encoder of {names} has {lacking}", stacklevel=4)


def _check_compiler(device: str) -> None:
    """torch.compile writes C++ for processors, and a launcher in C++ for GPUs."""
    named = os.environ.get("CXX")
    if not any(shutil.which(each) for each in ([named] if named else COMPILERS)):
        raise UserError(
            f"trainer.compile needs a C++ compiler on {device}, and there is no {named or ' or '.join(COMPILERS)}: "
            "install one, or leave trainer.compile out"
        )


@contextmanager
def _compiled(encoder: nn.Module) -> Iterator[None]:
    """In place, so that the names of its parameters stay."""
    encoder.compile()
    try:
        yield
    finally:
        encoder._compiled_call_impl = None


@contextmanager
def _checkpointed(encoder: nn.Module) -> Iterator[bool]:
    """Each block keeps its input only, and is recomputed in the backward pass (Chen et al. 2016, 1604.06174)."""
    blocks = [block for block in getattr(encoder, "blocks", []) if isinstance(block, nn.Module)]
    for block in blocks:
        block.forward = partial(_recomputed, block.forward)  # type: ignore[method-assign]
    try:
        yield bool(blocks)
    finally:
        for block in blocks:
            del block.forward


def _recomputed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


@contextmanager
def _channels_last(encoder: nn.Module) -> Iterator[bool]:
    """Weights and inputs of four dimensions are stored channels last."""
    has_any = any(parameter.ndim == 4 for parameter in encoder.parameters())
    if not has_any:
        yield False
        return
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    hook = encoder.register_forward_pre_hook(_inputs_channels_last, with_kwargs=True)
    try:
        yield True
    finally:
        hook.remove()
        encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _inputs_channels_last(encoder: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return tuple(_last(value) for value in args), {name: _last(value) for name, value in kwargs.items()}


def _last(value: Any) -> Any:
    four = isinstance(value, Tensor) and value.ndim == 4
    return value.contiguous(memory_format=torch.channels_last) if four else value

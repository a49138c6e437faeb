"""Low-rank adapters (LoRA: Hu et al. 2022, section 4.1) on an encoder: added, found and merged.

Implemented with peft, which is imported only if there is an adapter: the import takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from bindspace.contract import Lora, UserError, unknown

PACKED = "in_proj_weight"  # of nn.MultiheadAttention: query, key and value in one tensor


def add_adapters(encoder: nn.Module, lora: Lora, where: str) -> None:
    """Adds adapters to the layers that `lora` names, which does not change outputs yet; freezes all other parameters.

    `where`: `modality.<name>.tune.lora`, for errors. Raises `UserError` for a target that matches nothing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError(f"{where} needs peft ({error}): pip install 'bindspace[lora]'") from error
    layers, packed = chosen_layers(encoder, lora, where)
    if packed and lora.dropout:
        raise UserError(
            f"{where}.dropout={lora.dropout}: {packed[0]} has its projections in one tensor, without dropout:"
            f" set it to 0, or name other layers in {where}.targets"
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides by the rank, whatever the number
        lora_dropout=lora.dropout,
        target_modules="|".join(re.escape(name) for name in layers) or "(?!)",
        target_parameters=[f"{name}.{PACKED}" for name in packed] or None,
    )
    try:
        inject_adapter_in_model(config, encoder)
    except ValueError as error:
        raise UserError(f"{where}: {error}: name other layers in {where}.targets") from error


def chosen_layers(encoder: nn.Module, lora: Lora, where: str) -> tuple[list[str], list[str]]:
    """Names of the layers that get an adapter, and of those whose packed projections do.

    Without targets these are all supported layers: linear layers, convolutions that are not grouped (an adapter on
    grouped ones could not be merged), and `nn.MultiheadAttention`.
    """
    modules = dict(encoder.named_modules())
    packed = [name for name, module in modules.items() if name and _is_packed(module)]
    within = {f"{name}.out_proj" for name in packed}  # attention never calls it, so an adapter would have no effect
    plain = [name for name, module in modules.items() if name and name not in within and _takes_adapter(module)]
    found = plain + packed
    if not found:
        raise UserError(f"{where}: its encoder has no layer that supports an adapter: set {where}.rank=0")
    if lora.targets is None:
        return plain, packed
    for target in lora.targets:
        if not any(_ends(name, target) for name in found):
            raise UserError(f"{where}.targets: {unknown('layer', target, _candidates(found))}")
    wanted = [name for name in found if any(_ends(name, target) for target in lora.targets)]
    return [name for name in wanted if name in plain], [name for name in wanted if name not in plain]


def has_adapters(encoder: nn.Module) -> bool:
    """Whether the encoder has adapters that are not merged."""
    return hasattr(encoder, "peft_config")


def is_adapter(name: str) -> bool:
    """Whether a parameter or a module of an encoder belongs to an adapter, by its name."""
    return any(part.startswith("lora_") for part in name.split("."))


def merge_adapters(encoder: nn.Module) -> None:
    """Merges the adapters into their layers, and removes peft's modules."""
    for name, layer in list(_adapted(encoder)):
        layer.merge()
        parent, _, last = name.rpartition(".")
        setattr(encoder.get_submodule(parent), last, layer.get_base_layer())
    del encoder.peft_config
    encoder.requires_grad_(True)


def _adapted(encoder: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return ((name, module) for name, module in encoder.named_modules() if isinstance(module, LoraLayer))


def _takes_adapter(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv1d | nn.Conv2d) and module.groups == 1)


def _is_packed(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _candidates(names: list[str]) -> set[str]:
    """The last part of each name, with the part before it if it is a number."""
    return {".".join(name.split(".")[-2 if name.split(".")[-1].isdigit() else -1 :]) for name in names}

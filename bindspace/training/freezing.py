"""What is frozen while the rest is trained, and the check that it did not change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from bindspace.contract import Tune, UserError
from bindspace.modules.adapters import add_adapters, has_adapters, is_adapter
from bindspace.settings import frozen
from bindspace.space import Space, Tower
from bindspace.vectors import raw_bytes


def wholly_frozen(space: Space, freeze: Iterable[str]) -> set[str]:
    """Modalities of which no parameter is trainable: those named, and those whose `tune` freezes all of the tower."""
    return set(freeze) | frozen(space.configs)


def set_trainable(space: Space, freeze: Iterable[str]) -> None:
    """Marks each tower's parameters as trainable or not, and puts what is frozen into evaluation mode.

    A tower is its encoder and its head. With `tune.unfreeze_last`, the last so many of `encoder.blocks` and the head
    are trained; with adapters, these and the head.
    """
    frozen = wholly_frozen(space, freeze)
    for name, config in space.configs.items():
        tower = space.towers[name]
        assert isinstance(tower, Tower)
        adapted = has_adapters(tower.encoder)
        is_frozen = name in frozen or config.tune.freeze or adapted
        tower.requires_grad_(not is_frozen)
        tower.train(not is_frozen)
        if is_frozen and name not in frozen:
            trainable = adapters(tower) if adapted else last_blocks(name, tower, config.tune)
            for module in [*trainable, tower.head]:
                module.requires_grad_(True)
                module.train()


def adapt(space: Space, names: Iterable[str], seed: int = 0) -> None:
    """Puts adapters into the towers of these modalities whose `tune.lora` asks for them, unless they are there.

    The initialisation of an adapter depends on `seed` alone.
    """
    for index, (name, config) in enumerate(space.configs.items()):
        tower = space.towers[name]
        assert isinstance(tower, Tower)
        if name in names and config.tune.lora.rank and not has_adapters(tower.encoder):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed * 1_000_003 + index)
                add_adapters(tower.encoder, config.tune.lora, f"modality.{name}.tune.lora")


def adapters(tower: Tower) -> list[nn.Module]:
    """The modules of a tower's adapters, dropout included."""
    return [module for name, module in tower.encoder.named_modules() if is_adapter(name)]


def last_blocks(name: str, tower: Tower, tune: Tune) -> list[nn.Module]:
    """The last `tune.unfreeze_last` blocks of the encoder. Raises `UserError` where it has none or too few."""
    blocks = list(getattr(tower.encoder, "blocks", []))
    if len(blocks) < tune.unfreeze_last:
        fewer = "give at most that many" if blocks else "set it to 0 to train the head alone, or leave out freeze"
        raise UserError(
            f"modality.{name}.tune.unfreeze_last={tune.unfreeze_last}: its encoder has {len(blocks)} blocks; {fewer}"
        )
    return blocks[len(blocks) - tune.unfreeze_last :]


def frozen_tensors(space: Space) -> dict[str, Tensor]:
    """Parameters without gradient, and buffers of modules in evaluation mode, by name: what may not change."""
    found: dict[str, Tensor] = {
        name: tensor for name, tensor in space.towers.named_parameters() if not tensor.requires_grad
    }
    for prefix, module in space.towers.named_modules():
        if not module.training:
            buffers = module.named_buffers(prefix, recurse=False)
            found.update(buffers)
    return found


def always_frozen(space: Space, freezes: Iterable[Iterable[str]], loaded: Iterable[str] = ()) -> dict[str, Tensor]:
    """Tensors that came from files and are frozen whichever of `freezes` holds, by their names in `space.towers`.

    They are those of encoders with a file of `weights`, and of the towers `loaded`, which came from a saved space. What
    a run can read again and never changes needs no place in its checkpoints. Leaves the space as the last of `freezes`
    sets it.
    """
    kept = space.towers.state_dict(keep_vars=True)
    prefixes = [f"{name}.encoder." for name, config in space.configs.items() if config.weights is not None]
    prefixes += [f"{name}." for name in loaded]
    names = {name for name in kept if name.startswith(tuple(prefixes))}
    for freeze in freezes:
        set_trainable(space, freeze)
        names &= frozen_tensors(space).keys()
    return {name: kept[name] for name in kept if name in names}


def tensor_hashes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """A SHA-256 for each tensor's bytes, of any type: compares bitwise, without keeping a copy."""
    return {name: hashlib.sha256(raw_bytes(tensor)).hexdigest() for name, tensor in tensors.items()}


def check_frozen(before: dict[str, str], space: Space) -> None:
    """Raises `RuntimeError` that names the frozen tensors that changed."""
    tensors = dict(chain(space.towers.named_parameters(), space.towers.named_buffers()))
    after = tensor_hashes({name: tensors[name] for name in before})
    changed = [name for name, value in before.items() if after[name] != value]
    if changed:
        raise RuntimeError(f"frozen tensors changed during training: {', '.join(changed[:5])} ({len(changed)} in all)")

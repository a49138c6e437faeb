"""What stands still while the rest is trained, and the proof that it did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain

from torch import Tensor, nn

from bindspace.errors import UserError
from bindspace.modality import Tune
from bindspace.pairs import frozen
from bindspace.space import Space, Tower


def wholly_frozen(space: Space, freeze: Iterable[str]) -> set[str]:
    """Modalities of which no parameter moves: those named, and those whose `tune` freezes all of the tower."""
    return set(freeze) | frozen(space.configs)


def set_trainable(space: Space, freeze: Iterable[str]) -> None:
    """Marks each tower's parameters as trainable or not, and puts what is frozen into evaluation mode.

    A tower is its encoder and its head. With `tune.unfreeze_last`, the last so many of `encoder.blocks` and the head
    are trained.
    """
    frozen = wholly_frozen(space, freeze)
    for name, config in space.configs.items():
        tower = space.towers[name]
        assert isinstance(tower, Tower)
        still = name in frozen or config.tune.freeze
        tower.requires_grad_(not still)
        tower.train(not still)
        if still and name not in frozen:
            for module in [*last_blocks(name, tower, config.tune), tower.head]:
                module.requires_grad_(True)
                module.train()


def last_blocks(name: str, tower: Tower, tune: Tune) -> list[nn.Module]:
    """The last `tune.unfreeze_last` blocks of the encoder. Raises `UserError` where it has none or too few."""
    blocks = list(getattr(tower.encoder, "blocks", []))
    if len(blocks) < tune.unfreeze_last:
        raise UserError(
            f"modality.{name}.tune.unfreeze_last={tune.unfreeze_last}: its encoder has {len(blocks)} blocks; "
            f"give at most that many"
        )
    return blocks[len(blocks) - tune.unfreeze_last :]


def still_tensors(space: Space) -> dict[str, Tensor]:
    """Parameters without gradient, and buffers of modules in evaluation mode, by name: what may not move."""
    found: dict[str, Tensor] = {
        name: tensor for name, tensor in space.towers.named_parameters() if not tensor.requires_grad
    }
    for prefix, module in space.towers.named_modules():
        if not module.training:
            buffers = module.named_buffers(prefix, recurse=False)
            found.update(buffers)
    return found


def fingerprint(tensors: dict[str, Tensor]) -> dict[str, str]:
    """A SHA-256 for each tensor's bytes: to the bit, and without keeping a copy."""
    return {
        name: hashlib.sha256(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes()).hexdigest()
        for name, tensor in tensors.items()
    }


def check_still(before: dict[str, str], space: Space) -> None:
    """Raises `RuntimeError` that names what moved although it was frozen."""
    tensors = dict(chain(space.towers.named_parameters(), space.towers.named_buffers()))
    after = fingerprint({name: tensors[name] for name in before})
    moved = [name for name, value in before.items() if after[name] != value]
    if moved:
        raise RuntimeError(f"frozen tensors moved during training: {', '.join(moved[:5])} ({len(moved)} in all)")

"""Parameter groups of the optimiser: weight decay, and layer-wise decay of the learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from torch import nn

from bindspace.contract import UserError
from bindspace.space import Space, Tower


def tower_groups(space: Space, name: str, lr: float, weight_decay: float) -> Iterator[dict[str, Any]]:
    """Groups of one tower's trainable parameters: by their rate, and with weight decay or without."""
    tower, tune = space.towers[name], space.configs[name].tune
    assert isinstance(tower, Tower)
    factors = layer_factors(name, tower, tune.layer_decay)
    for factor in sorted(set(factors.values())):
        layer = [p for p in tower.parameters() if factors[p] == factor]
        for decay, parameters in split_decay(layer):
            if parameters:
                rate = lr * tune.lr * factor
                yield {"params": parameters, "lr": rate, "weight_decay": weight_decay if decay else 0.0}


def own_groups(module: nn.Module, lr: float, weight_decay: float) -> Iterator[dict[str, Any]]:
    """Groups of the trainable parameters that terms own."""
    for decay, parameters in split_decay(list(module.parameters())):
        if parameters:
            yield {"params": parameters, "lr": lr, "weight_decay": weight_decay if decay else 0.0}


def layer_factors(name: str, tower: Tower, decay: float) -> dict[nn.Parameter, float]:
    """What the rate of each parameter of a tower is multiplied by (BEiT: Bao et al. 2022, section 3.1).

    The head, and what the encoder has after its blocks: 1. The last block: decay, the one before it: decay^2, and so
    on; what comes before the first block, the stem: decay once more. What is between two blocks goes with the
    later. Raises `UserError` for an encoder without blocks.
    """
    factors = dict.fromkeys(tower.parameters(), 1.0)
    if decay == 1.0:
        return factors
    encoder = list(tower.encoder.parameters())
    blocks = list(getattr(tower.encoder, "blocks", []))
    if not blocks:
        raise UserError(
            f"modality.{name}.tune.layer_decay={decay}: its encoder has no blocks to tell layers by: leave it at 1, and"
            f" set modality.{name}.tune.lr for all of it"
        )
    depth: dict[nn.Parameter, int] = {
        p: len(blocks) - index for index, block in enumerate(blocks) for p in block.parameters()
    }
    current = 0
    for p in reversed(encoder):
        current = depth.get(p, current)
        factors[p] = decay**current
    for p in takewhile(lambda p: p not in depth, encoder):
        factors[p] = decay ** (len(blocks) + 1)
    return factors


def split_decay(parameters: list[nn.Parameter]) -> list[tuple[bool, list[nn.Parameter]]]:
    """Trainable parameters with weight decay (matrices), and without (biases, norms, single numbers)."""
    trainable = [p for p in parameters if p.requires_grad]
    return [(True, [p for p in trainable if p.ndim > 1]), (False, [p for p in trainable if p.ndim <= 1])]

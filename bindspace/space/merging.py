"""Merges the adapters of a space into their layers."""

from __future__ import annotations

import copy

from torch import Tensor

from bindspace.modules.adapters import has_adapters, merge_adapters
from bindspace.space.space import Space, Tower


def merge_space(space: Space) -> None:
    """Merges the adapters of all towers, in place."""
    for tower in space.towers.values():
        assert isinstance(tower, Tower)
        if has_adapters(tower.encoder):
            merge_adapters(tower.encoder)


def plain_state(space: Space) -> dict[str, Tensor]:
    """The space's state with all adapters merged; the space itself is not changed."""
    state = space.state_dict()
    for name, tower in space.towers.items():
        assert isinstance(tower, Tower)
        if has_adapters(tower.encoder):
            encoder, prefix = copy.deepcopy(tower.encoder), f"towers.{name}.encoder."
            merge_adapters(encoder)
            state = {key: value for key, value in state.items() if not key.startswith(prefix)}
            state |= {f"{prefix}{key}": value for key, value in encoder.state_dict().items()}
    return state

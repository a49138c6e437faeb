"""`extend=SPACE`: a saved space supplies its modalities, dim and pivot, and the list names the newcomers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindspace import registry
from bindspace.cli.overrides import Overrides, plain
from bindspace.cli.preflight import MODALITY
from bindspace.errors import UserError
from bindspace.pairs import star

if TYPE_CHECKING:
    from bindspace.modality import ModalityConfig
    from bindspace.settings import Pair, TrainRun


@dataclass
class Base:
    """What `space.json` says of the space that is extended."""

    folder: Path
    configs: dict[str, ModalityConfig]
    dim: int
    pivot: str


def read_base(extend: str) -> Base:
    """The space that `extend` names, without its weights. Raises `UserError` where there is none."""
    folder = Path(extend).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"extend={extend}: there is no such folder: give the `space` folder of a run")
    from bindspace.bundle import read_settings

    return Base(folder, *read_settings(folder))


def extended(asked: Overrides) -> str | None:
    """The folder that the command line extends, or None."""
    values = [plain(override.value()) for override in asked.settings if override.key_or_group == "extend"]
    return None if not values or values[-1] is None else str(values[-1])


def check_overrides(base: Base, asked: Overrides, folders: Sequence[Path]) -> None:
    """Raises `UserError` for what the command line would change of the space, and for names that it has already."""
    for name in [*(asked.listed or []), *asked.added]:
        served = registry.serves(name, folders)
        if served in base.configs:
            raise UserError(f"{base.folder} has {served!r} already ({_names(base.configs)}): name only newcomers")
    fixed: dict[str, Any] = {"dim": base.dim, "pivot": base.pivot}
    for override in asked.settings:
        key, *rest = re.split(r"[.\[]", override.key_or_group)
        if key in fixed and not override.is_delete() and plain(override.value()) != fixed[key]:
            raise UserError(
                f"{override.input_line}: {base.folder} has {key} {fixed[key]}, which stays: leave {key} out"
            )
        if key == MODALITY and rest and rest[0] in base.configs:
            raise UserError(
                f"{override.input_line}: {rest[0]!r} comes from {base.folder} and stays as it is: set newcomers only"
            )


def join(run: TrainRun, base: Base) -> None:
    """Puts what the space supplies into a run: old modalities before the newcomers, dim, pivot, and the new pairs."""
    newcomers = dict(run.modality)
    if taken := [name for name in newcomers if name in base.configs]:
        raise UserError(f"{base.folder} has {taken[0]!r} already ({_names(base.configs)}): name only newcomers")
    if not newcomers:
        raise UserError(f"extend={run.extend}: nothing is to be added to {_names(base.configs)}: write +modality=NAME")
    run.extend, run.dim, run.pivot = str(base.folder), base.dim, base.pivot
    if run.pivot not in base.configs:
        raise UserError(f"{base.folder} does not hold its pivot {run.pivot!r}: extend the space that it was taken from")
    run.modality = {**base.configs, **newcomers}
    run.pairs = star(run, newcomers) if run.pairs is None else run.pairs
    _check_pairs(run.pairs, newcomers, run)


def _check_pairs(pairs: Sequence[Pair], newcomers: Mapping[str, Any], run: TrainRun) -> None:
    paired = {name for pair in pairs for name in pair.of}
    for pair in pairs:
        if not set(pair.of) & set(newcomers):
            both = f"pair {'-'.join(map(str, pair.of))!r}: both sides stand still"
            raise UserError(f"{both}: with extend= one side of each pair is new ({_names(newcomers)})")
    if alone := [name for name in newcomers if name not in paired]:
        raise UserError(f"{alone[0]!r} stands in no pair and would stay as it is initialised: add one with {run.pivot}")


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(names)

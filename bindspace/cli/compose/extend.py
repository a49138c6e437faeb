"""`extend=SPACE`: a saved space supplies its modalities, dim and pivot, and the list names the new modalities."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindspace.cli.compose.options import MODALITY
from bindspace.cli.compose.overrides import Overrides, plain
from bindspace.contract import UserError
from bindspace.settings import star

if TYPE_CHECKING:
    from bindspace.contract import ModalityConfig
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
    from bindspace.space import read_settings

    return Base(folder, *read_settings(folder))


def check_overrides(base: Base, asked: Overrides, implementations: Mapping[str, str]) -> None:
    """Raises `UserError` for what the command line would change of the space, and for names that it has already."""
    if taken := [name for name in implementations if name in base.configs]:
        raise UserError(f"{base.folder} has {taken[0]!r} already ({_names(base.configs)}): name only new modalities")
    if kept := [name for name in asked.removed if name in base.configs]:
        raise UserError(f"~modality.{kept[0]}: {kept[0]!r} comes from {base.folder} and stays as it is")
    fixed: dict[str, Any] = {"dim": base.dim, "pivot": base.pivot}
    for override in asked.settings:
        key, *rest = re.split(r"[.\[]", override.key_or_group)
        if key in fixed and plain(override.value()) != fixed[key]:
            raise UserError(
                f"{override.input_line}: {base.folder} has {key} {fixed[key]}, which stays: leave {key} out"
            )
        if key == MODALITY and rest and rest[0] in base.configs:
            raise UserError(
                f"{override.input_line}: {rest[0]!r} comes from {base.folder} and stays as it is: set new ones only"
            )


def join(run: TrainRun, base: Base) -> None:
    """Puts what the space supplies into a run: old modalities before the new ones, dim, pivot, and the new pairs."""
    new = dict(run.modality)
    if not new:
        raise UserError(
            f"extend={run.extend}: expected a new modality to add to {_names(base.configs)}: write +modality=NAME"
        )
    run.extend, run.dim, run.pivot = str(base.folder), base.dim, base.pivot
    if run.pivot not in base.configs:
        raise UserError(f"{base.folder} does not hold its pivot {run.pivot!r}: extend the space that it was taken from")
    run.modality = {**base.configs, **new}
    run.pairs = star(run, new) if run.pairs is None else run.pairs
    _check_pairs(run.pairs, new, run)


def _check_pairs(pairs: Sequence[Pair], new: Mapping[str, Any], run: TrainRun) -> None:
    paired = {name for pair in pairs for name in pair.of}
    for pair in pairs:
        if not set(pair.of) & set(new):
            both = f"pair {'-'.join(map(str, pair.of))!r}: both sides are frozen"
            raise UserError(f"{both}: with extend= one side of each pair is new ({_names(new)})")
    if alone := [name for name in new if name not in paired]:
        raise UserError(f"no pair contains {alone[0]!r}, so it would not be trained: add one with {run.pivot}")


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(names)

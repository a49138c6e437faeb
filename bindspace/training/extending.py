"""A run that starts from a saved space: which one, that it is unchanged, and the space with the new modalities."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from bindspace.contract import UserError
from bindspace.io.files import sha256
from bindspace.settings import TrainRun
from bindspace.space import WEIGHTS, Space, load
from bindspace.training.initialisation import new_ledger
from bindspace.training.ranks import is_first_rank

RECORD = "environment.json"


def describe_ancestor(run: TrainRun) -> dict[str, Any] | None:
    """The space that a run extends, for its record: where it is, and the SHA-256 of its weights."""
    if run.extend is None:
        return None
    weights = Path(run.extend) / WEIGHTS
    if not weights.is_file():
        raise UserError(f"{run.extend} has no {WEIGHTS}: copy the whole space folder again")
    return {"space": run.extend, "weights_sha256": sha256(weights)}


def check_ancestor(run: TrainRun, folder: Path) -> None:
    """Raises `UserError` unless the space that a run extends is where it was, with the same weights."""
    try:
        recorded = json.loads((folder / RECORD).read_bytes())["extend"]["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / RECORD} does not say which space was extended: start the run anew") from error
    if not Path(str(run.extend)).is_dir():
        raise UserError(f"the space {run.extend} that {folder} extends is gone: say where it is now with extend=FOLDER")
    if (describe_ancestor(run) or {}).get("weights_sha256") != recorded:
        raise UserError(
            f"{run.extend} holds other weights than when {folder} began (SHA-256 {str(recorded)[:16]}...): "
            "restore the old ones, or start anew with out=..."
        )


def extended_space(run: TrainRun) -> tuple[Space, set[str]]:
    """The saved space with the new modalities of a run, and the names of those that it had, which are frozen.

    The ledger is that of the saved space from here on, with the new modalities added. What the run says of the old
    modalities is replaced by the space's own settings.
    """
    assert run.extend is not None
    space = load(run.extend)
    old = set(space.modalities)
    if space.ledger is not None and space.ledger.unknown_reason is not None and is_first_rank():
        warnings.warn(
            f"the ledger of {run.extend} is unknown ({space.ledger.unknown_reason}): "
            "the training history of its towers stays unknown in the new space",
            stacklevel=2,
        )
    torch.manual_seed(run.seed)
    joined = Space(
        {name: run.modality[name] for name in run.modality if name not in old}, space.dim, space.pivot, pretrained=True
    )
    ledger = new_ledger(joined)
    weights = (describe_ancestor(run) or {})["weights_sha256"]
    assert space.ledger is not None
    ledger.inherit(space.ledger, space.modalities, note=f"extends the space of weights {weights[:16]}")
    space.add_towers(joined)
    space.ledger = ledger
    run.modality = dict(space.configs)
    return space, old

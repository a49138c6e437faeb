"""The checkpoint of a run: written whole or not at all, read without running code, refused where it does not fit."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from bindspace.contract import UserError
from bindspace.io.files import write_bytes
from bindspace.ledger import Ledger
from bindspace.training.module import BindModule

NEXT = "put the right file there, or start anew with out=..."
PARTS = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "seen")  # what Lightning and the module restore


@dataclass
class Saved:
    """Where a checkpoint stands: the index of its stage, and the step within; and what it holds."""

    path: Path
    stage: int
    step: int
    weights: dict[str, Any]
    ledger: dict[str, Any]
    rebuilt: dict[str, str]  # fingerprints of what the run rebuilds
    ended: int  # 0, or of a stage that has ended, early perhaps, the steps that it had been given

    def restore(self, module: BindModule) -> None:
        """Gives the module the weights and the ledger. Raises `UserError` where they are those of another space."""
        own = module.state_dict()
        weights = self.weights | module.built_again(self.rebuilt)
        for name in sorted(own.keys() ^ weights.keys()):
            has = "has no" if name in own else "has a"
            raise UserError(f"{self.path} does not belong to this run: it {has} tensor {_short(name)}: {NEXT}")
        for name, tensor in own.items():
            if (shape := tuple(getattr(weights[name], "shape", ()))) != tuple(tensor.shape):
                raise UserError(
                    f"{self.path} does not belong to this run: expected {_short(name)} of shape {tuple(tensor.shape)} "
                    f"as config.yaml says, got {shape}: {NEXT}"
                )
        try:
            module.load_state_dict(weights)
            module.space.ledger = Ledger.from_state(self.ledger)
        except Exception as error:  # anything, for a file that somebody made up
            raise _damaged(self.path, error) from error


def read_checkpoint(path: Path) -> Saved | None:
    """The state of a stopped run, or None where it stopped before its first checkpoint. Runs no code from the file."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        at, weights = (int(state["stage"]), int(state["global_step"])), dict(state["state_dict"])
        ended = int(state["stage_steps"]) if state["stage_ended"] else 0
        saved = Saved(path, *at, weights, state["ledger"], dict(state["rebuilt"]), ended)
        for part in PARTS:
            state[part]
    except Exception as error:  # torch.load raises all kinds of errors for damaged files
        raise _damaged(path, error) from error
    return saved


def _short(name: str) -> str:
    return name.removeprefix("space.")


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged, or no checkpoint of bindspace ({type(error).__name__}): {NEXT}")


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning writes through the folder for temporary files, which is not atomic where that is another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Writes beside its place, then renames. Raises `UserError`."""
        path = Path(path)
        for leftover in path.parent.glob(f".{path.name}.tmp-*"):  # of a run that was killed while it wrote
            leftover.unlink(missing_ok=True)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(path, buffer.getbuffer())

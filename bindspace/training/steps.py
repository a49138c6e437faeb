"""When a step of the optimiser has ended."""

from __future__ import annotations

import lightning as L


def after_step(trainer: L.Trainer, index: int, every: int) -> bool:
    """Whether batch `index` has just ended an optimiser step whose number is a multiple of `every` (0: never)."""
    ended = (index + 1) % trainer.accumulate_grad_batches == 0
    return ended and every > 0 and trainer.global_step % every == 0

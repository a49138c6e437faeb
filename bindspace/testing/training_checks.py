"""Checks by training: every parameter gets a gradient, and a short run on generated examples beats chance."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.losses import info_nce
from bindspace.testing.kit import Check, checked, expect, not_applicable
from bindspace.testing.subject import CONCEPTS, ROWS, SEED, Subject

CHECKS: list[Check] = []
TRAINED, HELD_OUT = 15 * CONCEPTS, 6 * CONCEPTS  # examples
BATCH, STEPS, ENOUGH = 3 * CONCEPTS, 120, 0.95  # at most this many steps; fewer if batches are correct earlier
LR, SCALE = 1e-3, 10.0
ACCIDENT = 1e-6  # probability that as many are correct by chance


@checked("encoder", CHECKS)
def every_parameter_learns(subject: Subject) -> str:
    """A parameter without gradient is saved and loaded for no purpose, and stalls training on several devices."""
    tower = subject.new_tower().train()
    batch = subject.config.prepare(subject.samples[:ROWS], seeds=list(range(ROWS)), augment="none")
    pivot = F.normalize(torch.randn(ROWS, subject.dim), dim=1)
    optimiser = torch.optim.Adam(tower.parameters(), lr=LR)
    waiting = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    total = len(waiting)
    for _ in range(4):  # layers initialised to zero pass gradients from the second step on
        optimiser.zero_grad()
        info_nce(tower(**batch), pivot, SCALE).backward()
        waiting -= {name for name, p in tower.named_parameters() if p.grad is not None and p.grad.any()}
        optimiser.step()
    expect(not waiting, f"no gradient reaches {', '.join(sorted(waiting)[:3])} ({len(waiting)} of {total})")
    return f"{total} tensors"


@checked("example", CHECKS)
def a_short_run_beats_chance(subject: Subject) -> str:
    """Trained on examples of ten concepts, it classifies held-out examples: `read` and `prepare` keep the signal."""
    if subject.config.slow:
        not_applicable(f"stated: {subject.config.slow}")
    tower = subject.new_tower()
    anchors = torch.nn.init.orthogonal_(torch.empty(max(CONCEPTS, subject.dim), subject.dim))[:CONCEPTS]
    anchors = F.normalize(anchors, dim=1)
    steps = _train(subject, tower, anchors)
    samples, concepts = subject.made(HELD_OUT, seed=2)
    with torch.no_grad():
        right = _right(tower.eval()(**subject.config.prepare(samples)), anchors, concepts)
    needed = least_beyond_chance(HELD_OUT, 1 / CONCEPTS, ACCIDENT)
    said = f"{right} of {HELD_OUT} held-out examples correct after {steps} steps"
    said += f" (seed {SEED}; chance {HELD_OUT // CONCEPTS}"
    expect(right >= needed, f"{said}, expected {needed} or more)")
    return f"{said}, needed {needed})"


def _train(subject: Subject, tower: torch.nn.Module, anchors: Tensor) -> int:
    """Trains the tower towards the anchors of the concepts; returns the number of steps."""
    samples, concepts = subject.made(TRAINED, seed=1)
    optimiser = torch.optim.AdamW(tower.parameters(), lr=LR)
    order, before = torch.Generator().manual_seed(SEED), 0.0
    tower.train()
    for step in range(1, STEPS + 1):
        picked = torch.randperm(len(samples), generator=order)[:BATCH]
        seeds = (step * BATCH + torch.arange(BATCH)).tolist()
        z = tower(**subject.config.prepare([samples[i] for i in picked], seeds=seeds, augment="weak"))
        loss = F.cross_entropy(SCALE * z @ anchors.T, concepts[picked])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        now = _right(z.detach(), anchors, concepts[picked]) / BATCH
        if min(before, now) >= ENOUGH:
            return step
        before = now
    return STEPS


def _right(z: Tensor, anchors: Tensor, concepts: Tensor) -> int:
    return int(((z @ anchors.T).argmax(1) == concepts).sum())


def least_beyond_chance(n: int, chance: float, accident: float) -> int:
    """The smallest k with P(at least k of n are correct by chance) <= `accident`: an upper tail of the binomial."""
    tail = 0.0
    for k in range(n, -1, -1):
        tail += comb(n, k) * chance**k * (1 - chance) ** (n - k)
        if tail > accident:
            return k + 1
    return 0

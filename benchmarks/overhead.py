"""The overhead of a training step: `bindspace train` against a plain PyTorch loop.

usage: python benchmarks/overhead.py [batch] [steps] [rounds]     Encoders of size tiny in float32; both are handed the
same prepared batches. Ours is the Trainer that `bindspace train` builds, with its callbacks, ledger, loggers and
schedule; the bare loop has towers, InfoNCE, backward, clipping, fused AdamW and a schedule. Time is taken between the
starts of two steps.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import lightning as L
import numpy as np
import torch
from measure import DEVICE, begin, clock, emit
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from bindspace import ModalityConfig
from bindspace.contract import registry
from bindspace.data import BadRows, Batch
from bindspace.settings.run import LoggerSettings, Pair, Precision, TrainerSettings, TrainRun
from bindspace.space.space import Space
from bindspace.training.logging import quiet
from bindspace.training.module import BindModule
from bindspace.training.run import trainer_of
from bindspace.training.session import Manifests, Session
from bindspace.training.stages import Stage, warmup_cosine
from bindspace.training.terms import InfoNceConfig

WARM = 3  # steps left out at the start of a fit


class Ready(L.LightningDataModule):
    """Batches that are there."""

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader[Batch]:
        """One after the other."""
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> list[Batch]:
        """None."""
        return []


class Stopwatch(L.Callback):
    """Notes when each step begins."""

    def __init__(self) -> None:
        self.begun: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        """Notes it."""
        self.begun.append(clock())


def batches_of(configs: dict[str, ModalityConfig], batch: int, count: int) -> list[Batch]:
    """Prepared batches of the plugins' own examples."""
    rng, made = np.random.default_rng(0), []
    for number in range(count):
        ids = [f"e{number}-{i}" for i in range(batch)]
        one = Batch("made up", ids, {}, {}, groups=[None] * batch)
        for name, config in configs.items():
            samples = [config.read(*config.example(rng, i % 10)) for i in range(batch)]
            one.inputs[name] = config.prepare(samples, seeds=list(range(batch)))
            one.rows[name] = torch.arange(batch)
            one.digests[name] = torch.from_numpy(rng.integers(0, 256, (batch, 32), dtype=np.uint8))
        made.append(one)
    return made


def ours(configs: dict[str, ModalityConfig], batches: list[Batch], folder: Path) -> list[float]:
    """Seconds of each step as `bindspace train` runs it."""
    torch.manual_seed(0)
    first, second = configs
    settings = TrainerSettings(precision=Precision.float32, accelerator=DEVICE, progress=False)
    logger, loss = LoggerSettings(tensorboard=True), InfoNceConfig()
    run = TrainRun(pivot=first, modality=configs, trainer=settings, loss=loss, logger=logger)
    stage = Stage("bench", [Pair([first, second])], [], [0], len(batches), 1.0)
    session = Session(run, folder, Space(configs, run.dim, first), Manifests([], []), BadRows())
    trainer, watch = trainer_of(session, stage, 0, 0), Stopwatch()
    trainer.callbacks.append(watch)
    trainer.fit(BindModule(session.space, stage.pairs, steps=len(batches)), datamodule=Ready(batches))
    return np.diff(watch.begun)[WARM:].tolist()


def bare(configs: dict[str, ModalityConfig], batches: list[Batch]) -> list[float]:
    """Seconds of each step of a plain loop."""
    torch.manual_seed(0)
    first, second = configs
    space = Space(configs, 128, first).to(DEVICE).train()
    log_scale = nn.Parameter(torch.tensor(1 / 0.07, device=DEVICE).log())
    optimizer = torch.optim.AdamW([*space.parameters(), log_scale], lr=2e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(len(batches), 0.1))
    begun = []
    for batch in batches:
        begun.append(clock())
        inputs = {name: {key: value.to(DEVICE) for key, value in batch.inputs[name].items()} for name in configs}
        towers = {name: space.towers[name] for name in configs}
        a, b = (F.normalize(towers[name].head(towers[name].encoder(**inputs[name]))) for name in (first, second))
        logits, target = log_scale.exp() * a @ b.T, torch.arange(len(a), device=DEVICE)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*space.parameters(), log_scale], 1.0)
        optimizer.step()
        schedule.step()
    return np.diff(begun)[WARM:].tolist()


def main(batch: int = 128, steps: int = 15, rounds: int = 3) -> None:
    """Prints a line for each pair of modalities."""
    begin()
    quiet()
    for names in (("image", "text"), ("image", "audio")):
        configs: dict[str, ModalityConfig] = {name: registry.load(name)() for name in names}
        batches, times = batches_of(configs, batch, steps), {"ours": [], "bare": []}
        for number in range(rounds + 1):  # the first warms up
            with tempfile.TemporaryDirectory() as folder:
                found = {"ours": ours(configs, batches, Path(folder)), "bare": bare(configs, batches)}
            for way in times if number else ():
                times[way].append(median(found[way]))
        ratios = [a / b for a, b in zip(times["ours"], times["bare"], strict=True)]
        milliseconds = {f"{way}_ms": 1e3 * median(values) for way, values in times.items()}
        emit(f"step {'-'.join(names)}", batch=batch, **milliseconds, ours_over_bare=median(ratios))


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))

"""Three modalities without chance or batch statistics, for tests that compare numbers, and batches made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from bindspace import Cell, ModalityConfig
from bindspace.data import Batch
from bindspace.space.space import Space

WIDTH = 6


class Encoder(nn.Module):
    """Two layers, each a block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 5), nn.Linear(5, width)])

    def forward(self, x):
        return self.blocks[1](torch.tanh(self.blocks[0](x)))


@dataclass(kw_only=True)
class Left(ModalityConfig):
    """Four numbers in a cell."""

    modality: ClassVar[str] = "left"
    expects: ClassVar[str] = "four numbers"
    cell: ClassVar[Cell] = Cell.value
    width: int = WIDTH

    def encoder(self, *, pretrained):
        return Encoder(self.width)


@dataclass(kw_only=True)
class Middle(Left):
    modality: ClassVar[str] = "middle"


@dataclass(kw_only=True)
class Right(Left):
    modality: ClassVar[str] = "right"


def plain_space(seed: int = 0, **changes) -> Space:
    """A space of the three with the pivot `middle`; `changes`: other configs by modality."""
    torch.manual_seed(seed)
    configs = {"middle": Middle(), "left": Left(), "right": Right()} | changes
    return Space(configs, 4, "middle")


def plain_batch(rows: dict[str, list[int]], events: int, seed: int = 0, only: slice = slice(None)) -> Batch:
    """A batch of so many events of which `rows` says who holds what; `only`: the share of one rank."""
    generator = torch.Generator().manual_seed(seed)
    x = {name: torch.randn(events, 4, generator=generator) for name in rows}
    digests = {name: torch.randint(0, 256, (events, 32), generator=generator, dtype=torch.uint8) for name in rows}
    mine = list(range(events))[only]
    batch = Batch("by hand", [f"e{event}" for event in mine], {}, {})
    for name, held in rows.items():
        here = [(place, event) for place, event in enumerate(mine) if event in held]
        if here:
            places, chosen = zip(*here)
            batch.rows[name] = torch.tensor(places)
            batch.digests[name] = digests[name][list(chosen)]
            batch.inputs[name] = {"x": x[name][list(chosen)]}
    return batch


class ByHand(L.LightningDataModule):
    """Hands each rank its own list of batches."""

    def __init__(self, batches: list[list[Batch]]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self):
        return DataLoader(self.batches[self.trainer.global_rank], batch_size=None)

    def val_dataloader(self):
        return []


class KeepGradients(L.Callback):
    """Writes the gradients of the first step, and what the ledger says after it."""

    def __init__(self, path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if trainer.is_global_zero and not self.path.exists():
            gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
            terms = {"-".join(pair): module.space.ledger.summary() for pair in module.space.ledger.trained_pairs()}
            torch.save({"gradients": gradients, "pairs": sorted(terms)}, self.path)


def quiet_trainer(steps: int, folder, **changes) -> L.Trainer:
    """A Trainer that does nothing beside training."""
    settings = {
        "max_steps": steps,
        "max_epochs": -1,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
        "default_root_dir": folder,
    }
    return L.Trainer(**(settings | changes))

"""The LightningModule: contrastive training of a space over a list of pairs. It knows no modality by name.

Usable in a Trainer of one's own:
`Trainer(max_steps=n).fit(BindModule(space, pairs, steps=n), datamodule=BindData(...))`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from bindspace.data.batch import Batch
from bindspace.heads import Temperature
from bindspace.ledger import Ledger
from bindspace.losses import content_keys, info_nce
from bindspace.losses.contrastive import not_negative
from bindspace.settings import LossSettings, OptimSettings, Pair
from bindspace.space import Space, pair_name
from bindspace.training.cached_gradients import CachedGradients, in_one_go
from bindspace.training.distributed import gather_counts, gather_lists, gather_rows
from bindspace.training.freezing import check_still, fingerprint, set_trainable, still_tensors
from bindspace.training.schedule import warmup_cosine


def add_temperatures(space: Space, pairs: Iterable[Pair], loss: LossSettings) -> None:
    """Gives each pair its temperature, or the loss's, unless it has one already."""
    for pair in pairs:
        temperature = loss.temperature if pair.temperature is None else pair.temperature
        learned = loss.learned if pair.learned is None else pair.learned
        space.add_temperature(pair.of[0], pair.of[1], temperature, learned, loss.min_temperature)


def new_ledger(space: Space) -> Ledger:
    """The ledger of a space before its first step: a tower is random, or began from a file that tells no history."""
    began = {name: "random" if config.weights is None else "weights" for name, config in space.configs.items()}
    return Ledger.new(began)


@dataclass
class Side:
    """One side of a pair in the global batch: unit vectors (B, D) and content digests (B, 32)."""

    z_BD: Tensor
    digests_B32: Tensor


class BindModule(L.LightningModule):
    """Aligns the pairs of a space by symmetric InfoNCE with in-batch negatives over all ranks.

    `steps`: of this fit, for the learning-rate schedule. `freeze`: modalities that stand still (checked at the end).
    `lr`: factor on `optim.lr`. What contributed gradient is written into `space.ledger`. `seed` makes dropout a
    function of the step, so that a resumed run repeats an unbroken one. `micro_batch`: samples of a modality that are
    encoded at once on each rank, for batches beyond memory; None: all of them.
    """

    def __init__(
        self,
        space: Space,
        pairs: list[Pair],
        *,
        steps: int,
        loss: LossSettings | None = None,
        optim: OptimSettings | None = None,
        freeze: Iterable[str] = (),
        lr: float = 1.0,
        log_every: int = 10,
        first_step: int = 0,
        seed: int = 0,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.cached = CachedGradients(space, micro_batch) if micro_batch else None
        self._reducing = ExitStack()
        self.space, self.pairs, self.steps = space, pairs, steps
        self.loss = loss or LossSettings()
        self.optim = optim or OptimSettings()
        members = {name for pair in pairs for name in pair.of}
        self.still = set(freeze) | (set(space.modalities) - members)
        self.lr = lr
        self.log_every, self.first_step, self.seed = log_every, first_step, seed
        add_temperatures(space, pairs, self.loss)
        if space.ledger is None:
            space.ledger = new_ledger(space)
        self.sources: dict[str, str] = {}  # manifest path -> its SHA-256, for the ledger
        self._contributed: list[tuple[Pair, Batch, dict[str, Tensor]]] = []
        self._seen: dict[str, int] = {}

    def setup(self, stage: str) -> None:
        """Freezes what is to stand still, before DDP looks: it sums over ranks only what has a gradient by then."""
        set_trainable(self.space, self.still)

    def on_fit_start(self) -> None:
        """Takes the fingerprint of what stands still."""
        self._before = fingerprint(still_tensors(self.space))

    def on_train_start(self) -> None:
        """With cached gradients: refuses towers that they do not fit, and keeps DDP from reducing within a step."""
        if self.cached is not None:
            self.cached.check()
            self._reducing.enter_context(in_one_go(self.trainer.strategy))

    def on_train_end(self) -> None:
        """Lets DDP reduce again."""
        self._reducing.close()

    def on_fit_end(self) -> None:
        """Raises `RuntimeError` if anything frozen has moved."""
        check_still(self._before, self.space)

    def train(self, mode: bool = True) -> BindModule:
        """As in torch, but what is frozen stays in evaluation mode."""
        super().train(mode)
        if mode:
            set_trainable(self.space, self.still)
        return self

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Random numbers of a step depend on the seed, the step and the rank, and on nothing before."""
        torch.manual_seed((self.seed * 1_000_003 + self.first_step + self.global_step) * 1009 + self.global_rank)

    def vectors(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors (n, dim) of what the batch holds: encoded with gradient, or as they were cached."""
        return batch.vectors | {name: self._encode(name, prepared) for name, prepared in batch.inputs.items()}

    def _encode(self, name: str, prepared: dict[str, Tensor]) -> Tensor:
        return self.cached.encode(name, prepared, self.device) if self.cached else self.space(name, prepared)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """As in Lightning, and with cached gradients the second pass."""
        super().backward(loss, *args, **kwargs)
        if self.cached is not None:
            self.cached.second_pass(self.device)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The weighted sum of the pairs' losses on one batch. Collective: every rank calls it with its own share."""
        z = self.vectors(batch)
        total = self._zero()
        for pair, a, b in self._sides(batch, z):
            total = total + pair.weight * self._pair_loss(pair, a, b, batch)
        self.log("train/loss", total.detach(), prog_bar=True)
        return total

    def _zero(self) -> Tensor:
        """Zero with a gradient path, so that a batch without any row of a pair still goes through backward."""
        return torch.zeros((), device=self.device, requires_grad=True) * 1.0

    def _sides(self, batch: Batch, z: dict[str, Tensor]) -> Iterator[tuple[Pair, Side, Side]]:
        """Both sides of each pair that some rank has rows for, over the global batch."""
        shares = [self._share(batch, z, *pair.of) for pair in self.pairs]
        counts = gather_counts(torch.tensor([len(a.z_BD) for a, _ in shares], device=self.device)).tolist()
        for column, (pair, share) in enumerate(zip(self.pairs, shares, strict=True)):
            ranks = [row[column] for row in counts]
            if sum(ranks):
                a, b = (Side(gather_rows(s.z_BD, ranks), gather_rows(s.digests_B32, ranks)) for s in share)
                yield pair, a, b

    def _share(self, batch: Batch, z: dict[str, Tensor], a: str, b: str) -> tuple[Side, Side]:
        """This rank's rows of a pair: the events that hold both sides."""
        if a not in z or b not in z:
            none = Side(torch.zeros(0, self.space.dim, device=self.device, requires_grad=True), self._no_digests())
            return none, none
        in_a = torch.isin(batch.rows[a], batch.rows[b])
        in_b = torch.isin(batch.rows[b], batch.rows[a])
        return Side(z[a][in_a], batch.digests[a][in_a]), Side(z[b][in_b], batch.digests[b][in_b])

    def _no_digests(self) -> Tensor:
        return torch.zeros(0, 32, dtype=torch.uint8, device=self.device)

    def _pair_loss(self, pair: Pair, a: Side, b: Side, batch: Batch) -> Tensor:
        scale = self.space.logit_scale(*pair.of)
        keys = {"keys_a": content_keys(a.digests_B32), "keys_b": content_keys(b.digests_B32)}
        with torch.autocast(self.device.type, enabled=False):
            loss = info_nce(a.z_BD, b.z_BD, scale, **(keys if self.loss.mask_duplicates else {}))
        if loss.requires_grad and pair.weight:
            self._contributed.append((pair, batch, dict(zip(pair.of, (a.digests_B32, b.digests_B32), strict=True))))
        self._log_pair(pair_name(pair.of[0], pair.of[1], self.space.pivot), loss, scale, a, b, keys)
        return loss

    @torch.no_grad()
    def _log_pair(self, name: str, loss: Tensor, scale: Tensor, a: Side, b: Side, keys: dict[str, Tensor]) -> None:
        """Every `log_every`-th time that a pair is met; straight to the loggers: `self.log` costs 0.4 ms a figure."""
        self._seen[name] = self._seen.get(name, 0) + 1
        if (self._seen[name] - 1) % self.log_every or not self.loggers:
            return
        similarity_BB = a.z_BD @ b.z_BD.T
        target = torch.arange(len(similarity_BB), device=self.device)
        hits = [(side.argmax(1) == target).float().mean() for side in (similarity_BB, similarity_BB.T)]
        masked = not_negative(**keys).sum(1).float().mean() if self.loss.mask_duplicates else 0.0
        metrics = {
            "loss": loss,
            "temperature": 1 / scale,
            "accuracy": sum(hits) / 2,
            "gap": (a.z_BD.mean(0) - b.z_BD.mean(0)).norm(),
            "negatives": len(target) - 1 - masked,
        }
        self.write({f"train/{name}/{key}": float(value) for key, value in metrics.items()})

    def write(self, metrics: dict[str, float]) -> None:
        """Hands metrics to the loggers at the step counted over all stages."""
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.first_step + self.global_step)

    def on_after_backward(self) -> None:
        """The ledger's word: what has just contributed gradient."""
        assert self.space.ledger is not None
        for pair, batch, digests in self._contributed:
            arrays = {name: tensor.cpu().numpy() for name, tensor in digests.items()}
            groups = gather_lists(groups_of(batch, *pair.of))
            source = self.sources.get(batch.source, batch.source)
            self.space.ledger.record((pair.of[0], pair.of[1]), source=source, digests=arrays, groups=groups)
        self._contributed.clear()

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        """Keeps learned temperatures above their minimum."""
        for temperature in self.space.temperatures.values():
            assert isinstance(temperature, Temperature)
            temperature.clamp_()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over what is trainable; no decay on biases, norms and temperatures; warm-up and cosine over `steps`."""
        lr, betas = self.optim.lr * self.lr, (self.optim.betas[0], self.optim.betas[1])
        optimizer = torch.optim.AdamW(self._groups(), lr=lr, betas=betas, fused=True)
        schedule = LambdaLR(optimizer, warmup_cosine(self.steps, self.optim.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        lr, groups = self.optim.lr * self.lr, []
        for name, config in self.space.configs.items():
            for decay, parameters in split_decay(self.space.towers[name]):
                if parameters:
                    decayed = self.optim.weight_decay if decay else 0.0
                    groups.append({"params": parameters, "lr": lr * config.tune.lr, "weight_decay": decayed})
        names = {pair_name(pair.of[0], pair.of[1], self.space.pivot) for pair in self.pairs}
        scales = [p for name in sorted(names) for p in self.space.temperatures[name].parameters()]
        return groups + ([{"params": scales, "lr": lr, "weight_decay": 0.0}] if scales else [])

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the norm to `optim.clip`, or to what the Trainer says: Lightning refuses to with a fused optimiser."""
        if limit := gradient_clip_val or self.optim.clip:
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], limit)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The ledger goes with the weights that it describes."""
        assert self.space.ledger is not None
        checkpoint["ledger"] = self.space.ledger.state()
        checkpoint["seen"] = dict(self._seen)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the ledger of the checkpoint's moment."""
        self.space.ledger = Ledger.from_state(checkpoint["ledger"])
        self._seen = dict(checkpoint["seen"])


def groups_of(batch: Batch, a: str, b: str) -> list[str]:
    """The groups of those events of a batch that hold both sides."""
    if not batch.groups or a not in batch.rows or b not in batch.rows:
        return []
    both = batch.rows[a][torch.isin(batch.rows[a], batch.rows[b])].tolist()
    return [group for event in both if (group := batch.groups[event]) is not None]


def split_decay(module: nn.Module) -> list[tuple[bool, list[nn.Parameter]]]:
    """Trainable parameters with weight decay (matrices), and without (biases, norms, single numbers)."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [(True, [p for p in trainable if p.ndim > 1]), (False, [p for p in trainable if p.ndim <= 1])]

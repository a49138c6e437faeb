"""The LightningModule: contrastive training of a space over a list of pairs. It knows no modality by name.

Usable in a Trainer of one's own:
`Trainer(max_steps=n).fit(BindModule(space, pairs, steps=n), datamodule=BindData(...))`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from bindspace.contract import UserError
from bindspace.data import Batch
from bindspace.ledger import Ledger
from bindspace.losses import content_keys, hit_rate, info_nce, mean_negatives, siglip
from bindspace.settings import LossKind, LossSettings, OptimSettings, Pair, moving, pair_name
from bindspace.space import Space, Temperature
from bindspace.training.cached_gradients import CachedGradients, in_one_go
from bindspace.training.distillation import Teacher
from bindspace.training.freezing import (
    adapt,
    check_still,
    set_trainable,
    still_tensors,
    tensor_hashes,
    wholly_frozen,
)
from bindspace.training.groups import tower_groups
from bindspace.training.hardware import loss_products
from bindspace.training.initialisation import add_temperatures, new_ledger
from bindspace.training.metric import metric_heads
from bindspace.training.ranks import ProcessRanks, gather_counts, gather_lists, gather_rows
from bindspace.training.sides import Side
from bindspace.training.stages import warmup_cosine

TOWERS = "space.towers."  # before a tower's tensor in the state of the module
WATCHED = 1024  # rows


class BindModule(L.LightningModule):
    """Aligns the pairs of a space by a contrastive loss with in-batch negatives over all ranks.

    `steps`: of this fit, for the learning-rate schedule. `freeze`: modalities that stand still (checked at the end); a
    pair of two of them is left out, since a temperature alone is not worth training, and no record of it either.
    `lr`: factor on `optim.lr`. What contributed gradient is written into `space.ledger`. `seed` makes dropout a
    function of the step, so that a resumed run repeats an unbroken one. `rebuilt`: fingerprints by name of tensors that
    stand still and that whoever resumes builds again; checkpoints hold these in the place of the tensors. Towers whose
    `tune.lora` asks for adapters get them here; `merge_space` or `save` merges them. `micro_batch`: samples of a
    modality that are encoded at once on each rank, for batches beyond memory; None: all of them.
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
        rebuilt: Mapping[str, str] | None = None,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.cached = CachedGradients(space, micro_batch) if micro_batch else None
        self._reducing = ExitStack()
        self.space, self.steps = space, steps
        self.loss = loss or LossSettings()
        self.optim = optim or OptimSettings()
        self.pairs = moving(pairs, wholly_frozen(space, freeze))
        members = {name for pair in self.pairs for name in pair.of}
        self.still = set(freeze) | (set(space.modalities) - members)
        for name in sorted(members):
            space.configs[name].tune.check(f"modality.{name}.tune")
        adapt(space, members - self.still, seed)
        self.rebuilt = dict(rebuilt or {})
        self.lr, self.log_every, self.first_step, self.seed = lr, log_every, first_step, seed
        add_temperatures(space, self.pairs, self.loss)
        if space.ledger is None:
            space.ledger = new_ledger(space)
        self.sources: dict[str, str] = {}  # manifest path -> its SHA-256, for the ledger
        still = wholly_frozen(space, self.still)
        self.metrics = metric_heads(space, self.pairs, still)
        self.teachers: list[Teacher] = []  # terms between modalities that share no event
        self._contributed: list[tuple[Pair, Batch, dict[str, Tensor]]] = []
        self._seen: dict[str, int] = {}

    def setup(self, stage: str) -> None:
        """Freezes what is to stand still, before DDP looks: it sums over ranks only what has a gradient by then."""
        self.train()

    def on_fit_start(self) -> None:
        """Takes the fingerprint of what stands still."""
        self._before = tensor_hashes(still_tensors(self.space))

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
        with self._timed("encode"):
            z = self.vectors(batch)
        with self._timed("loss"):
            total = self._zero()
            for pair, a, b, counts in self._sides(batch, z):
                total = total + pair.weight * self._pair_loss(pair, a, b, batch, counts)
                for teacher in self.teachers:
                    if teacher.of(pair):
                        total = total + self._taught(teacher, dict(zip(pair.of, (a, b))), batch, counts)
        self.log("train/loss", total.detach(), prog_bar=True, sync_dist=bool(self.teachers))
        return total

    def _timed(self, part: str) -> AbstractContextManager[Any]:
        """Tells the trainer's profiler, if there is a trainer, which part of the step this is."""
        return self._trainer.profiler.profile(part) if self._trainer is not None else nullcontext()  # type: ignore[attr-defined]

    def _zero(self) -> Tensor:
        """Zero with a gradient path, so that a batch without any row of a pair still goes through backward."""
        return torch.zeros((), device=self.device, requires_grad=True) * 1.0

    def _sides(self, batch: Batch, z: dict[str, Tensor]) -> Iterator[tuple[Pair, Side, Side, list[int]]]:
        """Both sides of each pair that some rank has rows for, and how many rows each rank has."""
        shares = [self._share(batch, z, *pair.of) for pair in self.pairs]
        counts = gather_counts(torch.tensor([len(a.z_BD) for a, _ in shares], device=self.device)).tolist()
        for column, (pair, (a, b)) in enumerate(zip(self.pairs, shares, strict=True)):
            ranks = [row[column] for row in counts]
            if sum(ranks):
                yield pair, a, b, ranks

    def _share(self, batch: Batch, z: dict[str, Tensor], a: str, b: str) -> tuple[Side, Side]:
        """This rank's rows of a pair: events that hold both sides. Where all do, the rows are shared, not copied."""
        if a not in z or b not in z:
            none = Side(torch.zeros(0, self.space.dim, device=self.device, requires_grad=True), self._no_digests())
            return none, none
        both = (a, torch.isin(batch.rows[a], batch.rows[b])), (b, torch.isin(batch.rows[b], batch.rows[a]))
        first, second = (
            Side(z[name], batch.digests[name]) if held.all() else Side(z[name][held], batch.digests[name][held])
            for name, held in both
        )
        return first, second

    def _no_digests(self) -> Tensor:
        return torch.zeros(0, 32, dtype=torch.uint8, device=self.device)

    def _pair_loss(self, pair: Pair, a: Side, b: Side, batch: Batch, counts: list[int]) -> Tensor:
        scale, name = self.space.logit_scale(*pair.of), pair_name(pair.of[0], pair.of[1], self.space.pivot)
        keys = {"keys_a": content_keys(a.digests_B32), "keys_b": content_keys(b.digests_B32)}
        asked: dict[str, Any] = {
            **(keys if self.loss.mask_duplicates else {}),
            "products": loss_products(self.loss.precision, self.device),
            "ranks": ProcessRanks(counts) if len(counts) > 1 else None,
        }
        with torch.autocast(self.device.type, enabled=False):
            a, b = self._met(pair, a, b)
            if self.loss.kind is LossKind.siglip:
                loss = siglip(a.z_BD, b.z_BD, scale, self.space.logit_bias(*pair.of), **asked)
            else:
                loss = info_nce(a.z_BD, b.z_BD, scale, **asked)
        if loss.requires_grad and pair.weight:
            digests = {side: gather_rows(x.digests_B32, counts) for side, x in zip(pair.of, (a, b), strict=True)}
            self._contributed.append((pair, batch, digests))
        self._log_pair(name, loss, scale, a, b, counts)
        return loss

    def _met(self, pair: Pair, a: Side, b: Side) -> tuple[Side, Side]:
        """Both sides; the pivot's as a head that learns a metric with it sees it."""
        metric = next((self.metrics[name] for name in pair.of if name in self.metrics), None)
        if metric is None:
            return a, b
        first, second = (
            replace(side, z_BD=metric.met(side.z_BD)) if name == self.space.pivot else side
            for name, side in zip(pair.of, (a, b), strict=True)
        )
        return first, second

    def _taught(self, teacher: Teacher, sides: dict[str, Side], batch: Batch, counts: list[int]) -> Tensor:
        loss = teacher.loss(sides, batch, counts)
        if self._due(teacher.name):
            self.write(teacher.figures(counts))
        return loss

    @torch.no_grad()
    def _log_pair(self, name: str, loss: Tensor, scale: Tensor, a: Side, b: Side, counts: list[int]) -> None:
        """Every `log_every`-th time that a pair is met; straight to the loggers: `self.log` costs 0.4 ms a figure.

        The accuracy is that of the global batch's first `WATCHED` rows, as queries against the whole of it.
        """
        if not self._due(name):
            return
        z_a, z_b = (gather_rows(side.z_BD.detach(), counts) for side in (a, b))
        keys_a, keys_b = (content_keys(gather_rows(side.digests_B32, counts)) for side in (a, b))
        negatives = mean_negatives(keys_a, keys_b) if self.loss.mask_duplicates else len(z_a) - 1
        metrics = {
            "loss": loss,
            "temperature": 1 / scale,
            "accuracy": (hit_rate(z_a[:WATCHED], z_b) + hit_rate(z_b[:WATCHED], z_a)) / 2,
            "gap": (z_a.mean(0) - z_b.mean(0)).norm(),
            "negatives": negatives,
        }
        self.write({f"train/{name}/{key}": float(value) for key, value in metrics.items()})

    def _due(self, name: str) -> bool:
        """Counts that a pair is met, and says whether this is a time to log it."""
        self._seen[name] = self._seen.get(name, 0) + 1
        return (self._seen[name] - 1) % self.log_every == 0 and bool(self.loggers)

    def write(self, metrics: dict[str, float]) -> None:
        """Hands metrics to the loggers at the step counted over all stages."""
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.first_step + self.global_step)

    def on_after_backward(self) -> None:
        """The ledger's word: what has just contributed gradient."""
        assert self.space.ledger is not None
        for pair, batch, digests in self._contributed:
            arrays = {name: tensor.cpu().numpy() for name, tensor in digests.items()}
            groups = gather_lists(batch.groups_of(pair.of[0], pair.of[1]))
            self.space.ledger.record((pair.of[0], pair.of[1]), self._source(batch), arrays, groups=groups)
        for term in self.teachers:
            term.record(self.space.ledger, self._source)
        self._contributed.clear()

    def _source(self, batch: Batch) -> str:
        return self.sources.get(batch.source, batch.source)

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        """Keeps learned temperatures above their minimum."""
        for pair in self.pairs:  # others may be those of a space that is extended: they stay as they are
            temperature = self.space.temperatures[pair_name(pair.of[0], pair.of[1], self.space.pivot)]
            assert isinstance(temperature, Temperature)
            temperature.clamp_()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over what is trainable; no decay on biases, norms and temperatures; warm-up and cosine over `steps`."""
        lr, betas = self.optim.lr * self.lr, (self.optim.betas[0], self.optim.betas[1])
        optimizer = torch.optim.AdamW(self._groups(), lr=lr, betas=betas, fused=True)
        schedule = LambdaLR(optimizer, warmup_cosine(self.steps, self.optim.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        lr, decay = self.optim.lr * self.lr, self.optim.weight_decay
        groups = [g for name in self.space.modalities for g in tower_groups(self.space, name, lr, decay)]
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
        """The ledger goes with the weights that it describes; of what can be built again, fingerprints."""
        assert self.space.ledger is not None
        checkpoint["rebuilt"] = {f"{TOWERS}{name}": value for name, value in self.rebuilt.items()}
        for name in checkpoint["rebuilt"]:
            checkpoint["state_dict"].pop(name, None)
        checkpoint["ledger"] = self.space.ledger.state()
        checkpoint["seen"] = dict(self._seen)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the ledger of the checkpoint's moment. Raises `UserError` where something was built otherwise."""
        checkpoint["state_dict"] |= self.built_again(checkpoint.get("rebuilt", {}))
        self.space.ledger = Ledger.from_state(checkpoint["ledger"])
        self._seen = dict(checkpoint["seen"])

    def built_again(self, expected: Mapping[str, str]) -> dict[str, Tensor]:
        """The tensors that a checkpoint holds fingerprints of only. Raises `UserError` where they are others now."""
        own = {f"{TOWERS}{name}": value for name, value in self.rebuilt.items()}
        for name in sorted(own.keys() | expected.keys()):
            if own.get(name) != expected.get(name):
                modality, _, tensor = name.removeprefix(TOWERS).partition(".")
                source = getattr(self.space.configs.get(modality), "weights", None) or "the space it was loaded from"
                raise UserError(
                    f"modality.{modality}: expected the weights that this run began with, got others from {source}"
                    f" ({tensor}): put the old ones back, or start anew with out=..."
                )
        state = self.state_dict()
        return {name: state[name] for name in own}

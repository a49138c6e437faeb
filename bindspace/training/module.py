"""The LightningModule: training of a space by the terms of a loss. It knows no modality and no loss by name.

Usable in your own Trainer:
`Trainer(max_steps=n).fit(BindModule(space, pairs, steps=n), datamodule=BindData(...))`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from bindspace.contract import PluginError, TermConfig, UserError, unknown
from bindspace.data import Batch, batch_of
from bindspace.ledger import Ledger
from bindspace.settings import OptimSettings, Pair, pair_name, pair_term, trainable_pairs
from bindspace.space import Space, Temperature, Tower
from bindspace.training.cached_gradients import CachedGradients, in_one_go
from bindspace.training.freezing import (
    adapt,
    check_frozen,
    frozen_tensors,
    set_trainable,
    tensor_hashes,
    wholly_frozen,
)
from bindspace.training.groups import own_groups, tower_groups
from bindspace.training.initialisation import new_ledger
from bindspace.training.ranks import gather_counts, gather_lists
from bindspace.training.recording import Recording
from bindspace.training.references import References
from bindspace.training.stages import warmup_cosine
from bindspace.training.terms import InfoNceConfig
from bindspace.training.terms.batch import Step, TermBatch
from bindspace.training.terms.listing import Listed, build_terms
from bindspace.training.validation import Validated, recalls

TOWERS = "space.towers."  # before a tower's tensor in the state of the module


class BindModule(L.LightningModule):
    """Aligns the pairs of a space by a loss with in-batch negatives over all ranks.

    `steps`: of this fit, for the learning-rate schedule. `loss`: the term of each pair, symmetric InfoNCE by default.
    `terms`: further terms. `references`: by modality the reference vectors of terms. `freeze`: modalities that are not
    trained (checked at the end); a pair of two of them is left out, since only its temperature would be trained.
    `lr`: factor on `optim.lr`. What contributed to the loss is written into `space.ledger`. `seed` makes dropout a
    function of the step, so that a resumed run equals an uninterrupted one. `rebuilt`: hashes by name of frozen tensors
    that a resumed run rebuilds; checkpoints hold these in place of the tensors. Towers whose `tune.lora` asks
    for adapters get them here; `save` merges them. `micro_batch`: samples of a modality that are encoded at once on
    each rank, for batches beyond memory; None: all of them.
    """

    def __init__(
        self,
        space: Space,
        pairs: list[Pair],
        *,
        steps: int,
        loss: TermConfig | None = None,
        terms: Sequence[TermConfig] = (),
        references: Mapping[str, References] | None = None,
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
        self.cached = CachedGradients(space, micro_batch, self) if micro_batch else None
        self._reducing = ExitStack()
        self.space, self.steps, self.optim = space, steps, optim or OptimSettings()
        self.pairs = trainable_pairs(pairs, wholly_frozen(space, freeze))
        pair_terms = [pair_term(pair, loss or InfoNceConfig()) for pair in self.pairs]
        self.members = list(dict.fromkeys(name for x in [*pair_terms, *terms] for name in x.takes(space.pivot)))
        self.frozen = set(freeze) | (set(space.modalities) - set(self.members))
        for name in sorted(self.members):
            space.configs[name].tune.check(f"modality.{name}.tune")
        adapt(space, set(self.members) - self.frozen, seed)
        self.rebuilt = dict(rebuilt or {})
        self.lr, self.log_every, self.first_step, self.seed = lr, log_every, first_step, seed
        if space.ledger is None:
            space.ledger = new_ledger(space)
        self.listed: list[Listed] = build_terms(space, pair_terms, terms, wholly_frozen(space, self.frozen))
        self.terms = nn.ModuleDict({each.key: each.term for each in self.listed})
        self.references = dict(references or {})
        self.recording = Recording(space, self.listed)
        self._seen: dict[str, int] = {}
        self._given: tuple[Any, Any] = (None, None)  # the batch as a `training_step` of your own gets it, and as ours

    def setup(self, stage: str) -> None:
        """Freezes what is to be frozen, before DDP looks: it sums over ranks only what has a gradient by then."""
        self.train()

    def on_fit_start(self) -> None:
        """Hashes what is frozen, and hooks the optimisers' steps."""
        self._before = tensor_hashes(frozen_tensors(self.space))
        self.recording.watch()
        for optimizer in self.trainer.optimizers:
            optimizer.register_step_post_hook(self._stepped)

    def on_train_start(self) -> None:
        """With cached gradients: refuses unsupported towers, and keeps DDP from reducing within a step."""
        if self.cached is not None:
            self.cached.check()
            self._reducing.enter_context(in_one_go(self.trainer.strategy))

    def on_train_end(self) -> None:
        """Lets DDP reduce again."""
        self._reducing.close()

    def on_fit_end(self) -> None:
        """Raises `RuntimeError` if anything frozen has changed."""
        self.recording.unwatch()
        check_frozen(self._before, self.space)

    def train(self, mode: bool = True) -> BindModule:
        """As in torch, but what is frozen stays in evaluation mode."""
        super().train(mode)
        if mode:
            set_trainable(self.space, self.frozen)
        return self

    def _as_batch(self, batch: Any) -> Batch:
        """A dictionary by modality of prepared tensors, or of what `prepare` returns, is a batch too."""
        if isinstance(batch, Batch):
            return batch
        named = {name: {self._stream(name): x} if isinstance(x, Tensor) else x for name, x in dict(batch).items()}
        return batch_of(named)

    def _stream(self, name: str) -> str:
        if name not in self.space.configs:
            raise UserError(unknown("modality of this space", name, self.space.configs))
        tower = self.space.towers[name]
        assert isinstance(tower, Tower)
        return tower.main_stream

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Random numbers of a batch depend on the seed, the step, the rank and its place in the step alone."""
        parts = self._trainer.accumulate_grad_batches if self._trainer is not None else 1
        number = (self.first_step + self.global_step) * parts + index % parts
        torch.manual_seed((self.seed * 1_000_003 + number) * 1009 + self.global_rank)
        self._given = batch, self._as_batch(batch)
        self.recording.begin(self._given[1])

    def vectors(self, batch: Batch) -> dict[str, Tensor]:
        """Unit vectors (n, dim) of what the batch holds, for your own loss: encoded with gradient, or as cached.

        What gets gradient by them is recorded as paired with all that the batch holds; terms are recorded separately.
        """
        z = self._vectors(self._given[1] if batch is self._given[0] else self._as_batch(batch))
        return {name: self.recording.unaccounted(name, vectors) for name, vectors in z.items()}

    def _vectors(self, batch: Batch) -> dict[str, Tensor]:
        with self.recording.accounted():
            encoded = {name: self._encode(name, prepared) for name, prepared in batch.inputs.items()}
        return batch.vectors | encoded

    def _encode(self, name: str, prepared: dict[str, Tensor]) -> Tensor:
        return self.cached.encode(name, prepared, self.device) if self.cached else self.space(name, prepared)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """As in Lightning, and with cached gradients the second pass."""
        super().backward(loss, *args, **kwargs)
        if self.cached is not None:
            with self.recording.accounted():
                self.cached.second_pass(self.device)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The weighted sum of the terms on one batch. Collective: every rank calls it with its own share."""
        batch = self._given[1] if batch is self._given[0] else self._as_batch(batch)
        with self._timed("encode"):
            z = self._vectors(batch)
        with self._timed("loss"), torch.autocast(self.device.type, enabled=False):
            step = Step(batch, z, self.space, self.members)
            total = torch.zeros((), device=self.device, requires_grad=True) * 1.0  # a batch without rows goes through
            for listed in self.listed:
                if listed.config.weight and step.meets(listed.names, listed.config.needed()):
                    total = total + listed.config.weight * self._term(listed, step, batch)
        self.log("train/loss", total.detach(), prog_bar=True, sync_dist=len(step.held_by_rank) > 1)
        return total

    def on_validation_epoch_start(self) -> None:
        """Forgets the embeddings of the last validation."""
        self._validated: dict[tuple[str, str], Validated] = {}

    def validation_step(self, batch: Batch, index: int) -> None:
        """Embeds both sides of a pair, as in evaluation."""
        if batch.pair is not None and batch.rows:
            inputs = {name: self._on_device(prepared) for name, prepared in batch.inputs.items()}
            with torch.autocast(self.device.type, enabled=False):
                z = batch.vectors | {name: self.space(name, prepared) for name, prepared in inputs.items()}
            self._validated.setdefault(batch.pair, Validated()).add(batch, z)

    def on_validation_epoch_end(self) -> None:
        """Logs recall of each pair, e.g. `val/image-text/r10`, the same on all ranks. Collective."""
        gathered = gather_lists([self._validated])
        for a, b in sorted({pair for part in gathered for pair in part}):
            name = pair_name(a, b, self.space.pivot)
            found = recalls([part[a, b] for part in gathered if (a, b) in part], a, b)
            metrics = {f"val/{name}/{key}": value for key, value in found.items()}
            self.log_dict(metrics, logger=False)
            self.write(metrics)
        self._validated = {}

    def _on_device(self, prepared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: value.to(self.device) for key, value in prepared.items()}

    def _timed(self, part: str) -> AbstractContextManager[Any]:
        """Tells the trainer's profiler, if there is a trainer, which part of the step this is."""
        return self._trainer.profiler.profile(part) if self._trainer is not None else nullcontext()  # type: ignore[attr-defined]

    def _term(self, listed: Listed, step: Step, batch: Batch) -> Tensor:
        due = self._due(listed.label)
        term_batch = TermBatch(step, listed.names, self.references, self.recording.source_of(batch), due)
        loss = listed.term(term_batch)
        if not isinstance(loss, Tensor) or loss.ndim:
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise PluginError(f"the term {listed.label}: expected forward to return a scalar tensor, got {shape}")
        # On a GPU the question waits for the device, so it is put where the metrics wait for it as well.
        if (due or self.device.type == "cpu") and not bool(loss.isfinite()):
            at, value = self.first_step + self.global_step, float(loss.detach())
            raise UserError(f"the term {listed.label} is {value} at step {at}: lower optim.lr, or raise a temperature")
        self.recording.note(listed, term_batch.taken, batch)
        if due:
            self._log_metrics(listed)
        return loss

    def _log_metrics(self, listed: Listed) -> None:
        """Straight to the loggers: `self.log` costs 0.4 ms a metric."""
        metrics = listed.term.figures()
        if not metrics:
            return
        values = gather_counts(torch.tensor([float(x) for x in metrics.values()], device=self.device)).mean(0)
        self.write({f"train/{listed.label}/{name}": float(x) for name, x in zip(metrics, values)})

    def _due(self, label: str) -> bool:
        """Counts that a term has rows, and says whether to log it now."""
        self._seen[label] = self._seen.get(label, 0) + 1
        return (self._seen[label] - 1) % self.log_every == 0 and bool(self.loggers)

    def write(self, metrics: dict[str, float]) -> None:
        """Hands metrics to the loggers at the step counted over all stages."""
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.first_step + self.global_step)

    @property
    def sources(self) -> dict[str, str]:
        """Manifest path -> its SHA-256, for the ledger."""
        return self.recording.sources

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """After an optimiser has stepped: temperatures are clamped, and the record of the step is kept."""
        found_inf = getattr(optimizer, "found_inf", None)  # a gradient scaler had it skip the step
        if found_inf is not None and bool(found_inf.any()):
            self.recording.discard()
            return
        for pair in self.pairs:  # others may be those of an extended space: they stay unchanged
            temperature = self.space.temperatures[pair_name(pair.of[0], pair.of[1], self.space.pivot)]
            assert isinstance(temperature, Temperature)
            temperature.clamp_()
        self.recording.commit()

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
        groups += [{"params": scales, "lr": lr, "weight_decay": 0.0}] if scales else []
        return groups + list(own_groups(self.terms, lr, decay))

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the norm to `optim.clip`, or to what the Trainer says: Lightning refuses to with a fused optimiser."""
        if limit := gradient_clip_val or self.optim.clip:
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], limit)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the ledger of the weights; of what can be rebuilt, hashes."""
        assert self.space.ledger is not None
        checkpoint["rebuilt"] = {f"{TOWERS}{name}": value for name, value in self.rebuilt.items()}
        for name in checkpoint["rebuilt"]:
            checkpoint["state_dict"].pop(name, None)
        checkpoint["ledger"] = self.space.ledger.state()
        checkpoint["seen"] = dict(self._seen)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the ledger of the checkpoint's moment. Raises `UserError` where a rebuilt tensor differs."""
        checkpoint["state_dict"] |= self.built_again(checkpoint.get("rebuilt", {}))
        self.space.ledger = Ledger.from_state(checkpoint["ledger"])
        self._seen = dict(checkpoint["seen"])

    def built_again(self, expected: Mapping[str, str]) -> dict[str, Tensor]:
        """The tensors that a checkpoint holds hashes of only. Raises `UserError` where they differ now."""
        own = {f"{TOWERS}{name}": value for name, value in self.rebuilt.items()}
        for name in sorted(own.keys() | expected.keys()):
            if own.get(name) != expected.get(name):
                modality, _, tensor = name.removeprefix(TOWERS).partition(".")
                source = getattr(self.space.configs.get(modality), "weights", None) or "the space it was loaded from"
                raise UserError(
                    f"modality.{modality}: expected the weights that this run began with, got others from {source}"
                    f" ({tensor}): restore the old ones, or start anew with out=..."
                )
        state = self.state_dict()
        return {name: state[name] for name in own}

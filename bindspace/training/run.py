"""A run from settings to a saved space: `train` starts one in a folder, `resume` continues it."""

from __future__ import annotations

import shutil
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from bindspace.contract import UserError, registry
from bindspace.data import LISTING, BadRows, Manifest, broken_pairs, check_groups, split_validation
from bindspace.data.module import BindData, one_sentence
from bindspace.io.files import write_json, write_text
from bindspace.settings import (
    METRIC,
    Pair,
    TrainRun,
    frozen,
    members_of,
    pair_name,
    pair_term,
    reads,
    referenced,
)
from bindspace.space import Space, merge_space, save
from bindspace.training.acceleration import faster
from bindspace.training.callbacks import KeepBest, SaveLast, ShowProgress, ValidateAtEnd, WatchBadRows
from bindspace.training.checkpoint import NEXT, Saved, WholeCheckpoints, read_checkpoint
from bindspace.training.extending import check_ancestor, extended_space
from bindspace.training.freezing import adapt, always_frozen, tensor_hashes, wholly_frozen
from bindspace.training.hardware import cluster, device_of, environment, precision, threads
from bindspace.training.initialisation import add_temperatures, new_ledger
from bindspace.training.logging import quiet
from bindspace.training.metrics_file import MetricsFile
from bindspace.training.module import BindModule
from bindspace.training.ranks import first_rank_first, is_first_rank
from bindspace.training.references import references_of
from bindspace.training.session import CallbackContext, Manifests, Session
from bindspace.training.stages import Stage, check_sources_of, check_teachers, resolve
from bindspace.training.throughput import FILE as THROUGHPUT
from bindspace.training.throughput import ReportThroughput, StepClock, table
from bindspace.training.warnings import warn_of_batches
from bindspace.vectors import cache_vectors


def train(run: TrainRun, pairs: list[Pair], folder: Path) -> Space:
    """Trains a space, saves it as `folder/space` on the first rank, and returns it. The folder must be writable.

    `pairs`: those that are trained, from `bindspace.settings.check_run`.
    """
    write_json(folder / "environment.json", environment(run))
    return _run(run, pairs, folder, None)


def resume(run: TrainRun, pairs: list[Pair], folder: Path) -> Space:
    """Continues from `checkpoints/last.ckpt` to the same weights as if the run had never stopped."""
    return _run(run, pairs, folder, read_checkpoint(folder / "checkpoints" / "last.ckpt"))


def _run(run: TrainRun, pairs: list[Pair], folder: Path, saved: Saved | None) -> Space:
    quiet()
    threads(run)
    if is_first_rank():
        warn_of_batches(run)
    if run.extend is not None:
        check_ancestor(run, folder)
    events = read_events(run, pairs)
    bad = BadRows(folder / LISTING if is_first_rank() else None)
    space, kept = new_space(run, pairs)
    stages, first_step = stages_of(run, pairs, events, kept), 0
    check_references(run, stages, events.train, kept)
    session = Session(run, folder, space, events, bad, kept, stages, prepared(run, space, stages, kept))
    if saved is not None and not 0 <= saved.stage < len(stages):
        raise UserError(f"{saved.path} is of stage {saved.stage + 1}, and this run has {len(stages)}: {NEXT}")
    for index, stage in enumerate(stages):
        if saved is None or index >= saved.stage:
            here = saved if saved is not None and index == saved.stage else None
            fit(session, stage, index, first_step, here)
        first_step += stage.steps
    if is_first_rank():
        if run.trainer.progress and session.throughput:
            print("\n".join(map(table, session.throughput)), file=sys.stderr)
        if len(bad):
            warnings.warn(f"{len(bad)} cells could not be read and were skipped: see {bad.listing}", stacklevel=2)
        merge_space(session.space.cpu())
        save(session.space, folder / "space")
        write_text(folder / "ledger.json", (folder / "space" / "ledger.json").read_text(encoding="utf-8"))
        if run.trainer.cache is None:
            shutil.rmtree(session.cache, ignore_errors=True)
    return session.space


def new_space(run: TrainRun, pairs: list[Pair]) -> tuple[Space, set[str]]:
    """The space before the first step, with its ledger, and the modalities that are frozen in every stage.

    Random but for towers that load `weights`, and for those of a space that the run extends.
    """
    if run.extend is not None:
        space, kept = extended_space(run)
    else:
        torch.manual_seed(run.seed)
        space, kept = Space(run.modality, run.dim, run.pivot, pretrained=True), set()
        space.ledger = new_ledger(space)
    add_temperatures(space, [pair_term(pair, run.loss) for pair in pairs])
    return space, kept


def prepared(run: TrainRun, space: Space, stages: list[Stage], kept: set[str]) -> dict[str, str]:
    """Adds the adapters of all stages; returns the fingerprints of what no stage trains and a resumed run reads again.

    `kept`: the towers of a space that is extended.
    """
    everyone = set(space.modalities)
    freezes = [set(stage.freeze) | (everyone - stage.members) | kept for stage in stages]
    adapt(space, {name for freeze in freezes for name in everyone - wholly_frozen(space, freeze)}, run.seed)
    return tensor_hashes(always_frozen(space, freezes, kept))


def read_events(run: TrainRun, pairs: list[Pair]) -> Manifests:
    """Loads the manifests; a share of the training rows becomes `val` where none is given."""
    names = sorted({name for pair in pairs for name in pair.of} | members_of(run.terms, run.pivot))
    if not run.data.train:
        raise UserError(
            "data.train is empty: name at least one manifest, e.g. 'data.train=[{path: my/manifest.jsonl}]'"
        )
    train, val, test = (
        [Manifest.load(source, names) for source in sources]
        for sources in (run.data.train, run.data.val, run.data.test)
    )
    check_groups([*train, *val], test)
    if val:
        check_groups(train, val)
    else:
        train, val = split_validation(train, run.data.val_fraction, run.seed)
    if run.data.break_pairs:
        train = [broken_pairs(manifest, run.pivot, run.seed) for manifest in train]
    return Manifests(train, val)


def stages_of(run: TrainRun, pairs: list[Pair], events: Manifests, kept: set[str]) -> list[Stage]:
    """The stages resolved against pairs and sources."""
    holds = [{name for name in run.modality if manifest.uses(name)} for manifest in events.train]
    weights = [manifest.source.weight for manifest in events.train]
    check_sources_of(run.terms, holds, run.pivot)
    return resolve(run.stages, pairs, run.pivot, holds, weights, kept | frozen(run.modality), run.terms)


def check_references(run: TrainRun, stages: list[Stage], train: list[Manifest], kept: set[str]) -> None:
    """Raises `UserError` where a term or a callback asks for reference vectors that no source provides.

    `kept`: the modalities of a space that is extended, which are trained already.
    """
    known = {name for name, config in run.modality.items() if config.weights is not None} | kept
    for term in run.terms:
        for other in term.references():
            shown = f"{registry.implementation(type(term), registry.TERMS)} {'-'.join(term.of)!r}"
            check_teachers(shown, term.of[0], [run.pivot, other], run.pivot, stages, known)
    for other in referenced(run):
        if not any(each.uses(other) and each.uses(run.pivot) for each in train):
            raise UserError(
                f"reference vectors of {other} come from sources of {run.pivot} and {other}, and no source in "
                "data.train holds both: add one, or leave out what asks for them"
            )


def val_pairs(session: Session, stage: Stage) -> list[tuple[str, str]]:
    """The pairs that are validated in a stage: its own, and those of `trainer.val_pairs`.

    Raises `UserError` for one of the latter that no source holds.
    """
    asked = [(name.split("-")[0], name.split("-")[1]) for name in session.run.trainer.val_pairs]
    for a, b in asked:
        if not any(manifest.uses(a) and manifest.uses(b) for manifest in session.events.val):
            raise UserError(
                f"trainer.val_pairs: no source in data.val holds both {a} and {b}: add one, or leave them out"
            )
    own = [(pair.of[0], pair.of[1]) for pair in stage.pairs]
    return [*own, *(pair for pair in asked if pair not in own and pair[::-1] not in own)]


def selection_metric(session: Session, stage: Stage) -> str | None:
    """The metric that selects the weights of a stage: `keep_best` where the stage trains its pair.

    For a pair that no stage trains, it selects in the last one.
    """
    if session.run.trainer.keep_best is None:
        return None
    found = METRIC.fullmatch(session.run.trainer.keep_best)
    assert found is not None
    trained = [each for each in session.stages if any({found["a"], found["b"]} == set(pair.of) for pair in each.pairs)]
    if stage not in (trained or session.stages[-1:]):
        return None
    return f"val/{pair_name(found['a'], found['b'], session.run.pivot)}/{found['k']}"


def fit(session: Session, stage: Stage, index: int, first_step: int, saved: Saved | None) -> None:
    """Trains one stage, from a checkpoint within it where there is one."""
    run, space = session.run, session.space
    module = BindModule(
        space,
        stage.pairs,
        steps=stage.steps,
        loss=run.loss,
        terms=stage.terms,
        optim=run.optim,
        freeze=stage.freeze,
        lr=stage.lr,
        log_every=run.trainer.log_every,
        first_step=first_step,
        seed=run.seed,
        rebuilt=session.rebuilt,
        micro_batch=run.trainer.micro_batch,
    )
    step = 0
    if saved is not None:
        saved.restore(module)
        step = saved.step
        if stage.steps <= max(saved.ended, step):
            return
    manifests = [session.events.train[i] for i in stage.sources]
    module.references = {  # of the towers at this point
        name: references_of(session, name, count) for term in stage.terms for name, count in term.references().items()
    }
    module.recording.sources = {str(manifest.path): manifest.sha256 for manifest in manifests}
    data = data_of(session, stage, index, manifests)
    data.start_step = step * run.trainer.accumulate
    trainer = trainer_of(session, stage, index, first_step + step)
    with faster(space, run.trainer, trained_members(space, stage)), one_sentence():
        trainer.fit(module, datamodule=data, ckpt_path=None if saved is None else saved.path, weights_only=True)


def data_of(session: Session, stage: Stage, index: int, manifests: list[Manifest]) -> BindData:
    """The batches of a stage; of frozen modalities, cached embeddings."""
    run, cached = session.run, frozen_members(session.space, stage)
    space = session.space.to(device_of(run))
    with first_rank_first():
        sources = [*manifests, *session.events.val]
        vectors = cache_vectors(space, cached, sources, session.bad, session.cache, shown=run.trainer.progress)
    space.cpu()  # Lightning moves it where it trains
    steps = stage.steps * run.trainer.accumulate
    settings = run.data if stage.batch is None else replace(run.data, batch=stage.batch)
    options: dict[str, Any] = {"seed": run.seed + index, "vectors": vectors, "reads": reads(stage.terms, run.pivot)}
    options["val_pairs"] = val_pairs(session, stage)
    data = BindData(run.modality, manifests, session.events.val, stage.pairs, settings, steps, **options)
    data.in_chunks = run.trainer.micro_batch is not None
    return data


def frozen_members(space: Space, stage: Stage) -> list[str]:
    """Modalities of the stage whose towers are frozen."""
    return sorted(wholly_frozen(space, stage.freeze) & stage.members)


def trained_members(space: Space, stage: Stage) -> list[str]:
    """Modalities of the stage that are trained."""
    return sorted(stage.members - set(frozen_members(space, stage)))


def callbacks_of(session: Session, stage: Stage, index: int) -> list[L.Callback]:
    """In the order in which they act: the best weights are restored before the last checkpoint is written."""
    run, folder = session.run, session.folder
    rows = sum(len(manifest.rows) for manifest in [*session.events.train, *session.events.val])
    found: list[L.Callback] = [ShowProgress(stage.name, stage.steps, run.trainer.progress)]
    found.append(WatchBadRows(session.bad, rows, run.data.max_bad_fraction))
    context = CallbackContext(
        run, session.space, folder, stage, trained_members(session.space, stage), partial(references_of, session)
    )
    built = [config.build(context) for config in run.callbacks.values()]
    found += [callback for callback in built if callback is not None]
    if (metric := selection_metric(session, stage)) is not None:
        found.append(KeepBest(metric))
    found.append(ValidateAtEnd())
    return [*found, SaveLast(folder / "checkpoints" / "last.ckpt", run.trainer.checkpoint_every, index)]


def loggers_of(run: TrainRun, folder: Path, start: int) -> list[Logger]:
    """metrics.csv, and TensorBoard unless it is switched off."""
    found: list[Logger] = [MetricsFile(folder / "metrics.csv", step=start)]
    if run.logger.tensorboard:
        found.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    return found


def trainer_of(session: Session, stage: Stage, index: int, start: int) -> L.Trainer:
    """The Lightning Trainer of one stage; `start`: the step over all stages that it starts at."""
    run, folder, clock = session.run, session.folder, StepClock()
    report = ReportThroughput(stage.name, clock, run.data.workers, folder / THROUGHPUT, session.throughput)
    several = run.trainer.devices * run.trainer.nodes > 1
    return L.Trainer(
        max_steps=stage.steps,
        max_epochs=-1,
        accelerator=run.trainer.accelerator,
        devices=run.trainer.devices,
        num_nodes=run.trainer.nodes,
        strategy=DDPStrategy(find_unused_parameters=True) if several else "auto",
        precision=precision(run.trainer.precision, run.trainer.accelerator),  # type: ignore[arg-type]
        accumulate_grad_batches=run.trainer.accumulate,
        logger=loggers_of(run, folder, start),
        callbacks=[report, *callbacks_of(session, stage, index)],
        profiler=clock,
        plugins=[WholeCheckpoints(), *cluster()],
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        val_check_interval=(run.trainer.val_every or stage.steps) * run.trainer.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=run.trainer.log_every,
    )

"""A run from settings to a measured space: `train` starts one in a folder, `resume` goes on with it."""

from __future__ import annotations

import shutil
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from bindspace.bundle import save
from bindspace.data import BadRows, BindData, Manifest, Pool, check_groups, load_pool, split_validation
from bindspace.data.bad_rows import LISTING
from bindspace.data.manifest import broken_pairs
from bindspace.data.module import one_sentence
from bindspace.errors import UserError
from bindspace.files import write_json, write_text
from bindspace.lora import merge_space
from bindspace.pairs import METRIC, frozen, moving, resolve_pairs
from bindspace.settings import Pair, TrainRun
from bindspace.space import Space, pair_name
from bindspace.training.beginning import add_temperatures, new_ledger
from bindspace.training.callbacks import SaveLast, ShowProgress, Validate, WatchBadRows
from bindspace.training.checkpoint import NEXT, Saved, WholeCheckpoints, read_checkpoint
from bindspace.training.distributed import is_first_rank
from bindspace.training.extending import check_ancestor, extended_space
from bindspace.training.faster import faster
from bindspace.training.freezing import adapt, fingerprint, never_moved, wholly_frozen
from bindspace.training.hubs import hubs_of
from bindspace.training.machine import cluster, device_of, environment, precision, threads
from bindspace.training.measure import measure
from bindspace.training.metric import check_metric
from bindspace.training.metrics_file import MetricsFile
from bindspace.training.module import BindModule
from bindspace.training.quiet import quiet
from bindspace.training.remarks import warn_of_batches
from bindspace.training.schedule import Phase, resolve
from bindspace.training.teaching import check_teachers, teachers_of
from bindspace.training.throughput import FILE as THROUGHPUT
from bindspace.training.throughput import ReportThroughput, StepClock, table
from bindspace.training.vectors import cache_vectors


@dataclass
class Events:
    """The manifests of a run."""

    train: list[Manifest]
    val: list[Manifest]


@dataclass
class Session:
    """What the phases of a run share."""

    run: TrainRun
    folder: Path
    space: Space
    events: Events
    bad: BadRows
    still: set[str] = field(default_factory=set)  # what comes from the space that the run extends
    phases: list[Phase] = field(default_factory=list)
    rebuilt: dict[str, str] = field(default_factory=dict)  # fingerprints of what was read from files and never moves
    throughput: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """Where vectors of frozen towers are kept: in the run's own folder unless another is named."""
        return self.folder / "cache" if self.run.trainer.cache is None else Path(self.run.trainer.cache)


def train(run: TrainRun, folder: Path) -> None:
    """Trains, saves the space, and measures it where there is `data.test`. The folder must be writable."""
    write_json(folder / "environment.json", environment(run))
    _go(run, folder, None)


def resume(run: TrainRun, folder: Path) -> None:
    """Goes on from `checkpoints/last.ckpt` to the same weights as if the run had never stopped."""
    _go(run, folder, read_checkpoint(folder / "checkpoints" / "last.ckpt"))


def _go(run: TrainRun, folder: Path, saved: Saved | None) -> None:
    quiet()
    threads(run)
    if is_first_rank():
        warn_of_batches(run)
    if run.extend is not None:
        check_ancestor(run, folder)
    pairs = moving(resolve_pairs(run), frozen(run.modality))
    events = read_events(run, pairs)
    bad = BadRows(folder / LISTING if is_first_rank() else None)
    space, still = new_space(run, pairs)
    phases, first_step = phases_of(run, pairs, events, still), 0
    check_metric(run, phases)
    check_teachers(run, phases, events.train, still)
    session = Session(run, folder, space, events, bad, still, phases, prepared(run, space, phases, still))
    if saved is not None and not 0 <= saved.phase < len(phases):
        raise UserError(f"{saved.path} is of stage {saved.phase + 1}, and this run has {len(phases)}: {NEXT}")
    for index, phase in enumerate(phases):
        if saved is None or index >= saved.phase:
            here = saved if saved is not None and index == saved.phase else None
            fit(session, phase, index, first_step, here)
        first_step += phase.steps
    if is_first_rank():
        if run.trainer.progress and session.throughput:
            print("\n".join(map(table, session.throughput)), file=sys.stderr)
        if len(bad):
            warnings.warn(f"{len(bad)} cells could not be read and were skipped: see {bad.listing}", stacklevel=2)
        space = session.space.cpu()
        merge_space(space)
        save(space, folder / "space")
        write_text(folder / "ledger.json", (folder / "space" / "ledger.json").read_text(encoding="utf-8"))
        try:
            measure(run, space, folder, None if run.trainer.cache is None else session.cache)
        except UserError as error:
            unmeasured = f"{folder / 'space'} is trained but not measured"
            raise UserError(f"{unmeasured}: {error}; then measure it with run={folder}") from error
        if run.trainer.cache is None:
            shutil.rmtree(session.cache, ignore_errors=True)


def new_space(run: TrainRun, pairs: list[Pair]) -> tuple[Space, set[str]]:
    """The space as it stands before the first step, with its ledger, and what of it stands still in every stage.

    Random but for towers that load `weights`, and for those of a space that the run extends.
    """
    if run.extend is not None:
        space, still = extended_space(run)
    else:
        torch.manual_seed(run.seed)
        space, still = Space(run.modality, run.dim, run.pivot, pretrained=True), set()
        space.ledger = new_ledger(space)
    add_temperatures(space, pairs, run.loss)
    return space, still


def prepared(run: TrainRun, space: Space, phases: list[Phase], kept: set[str]) -> dict[str, str]:
    """Puts in the adapters of all phases; the fingerprints of what none of them moves and a resumed run reads again.

    `kept`: the towers of a space that is extended.
    """
    everyone = set(space.modalities)
    still = [set(phase.freeze) | (everyone - phase.members) | kept for phase in phases]
    adapt(space, {name for frozen in still for name in everyone - wholly_frozen(space, frozen)}, run.seed)
    return fingerprint(never_moved(space, still, kept))


def read_events(run: TrainRun, pairs: list[Pair]) -> Events:
    """Loads the manifests; a share of the training rows becomes `val` where none is given."""
    names = sorted({name for pair in pairs for name in pair.of})
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
    return Events(train, val)


def phases_of(run: TrainRun, pairs: list[Pair], events: Events, still: set[str]) -> list[Phase]:
    """The stages resolved against pairs and sources."""
    holds = [{name for name in run.modality if manifest.uses(name)} for manifest in events.train]
    weights = [manifest.source.weight for manifest in events.train]
    return resolve(run.stages, pairs, run.pivot, holds, weights, still | frozen(run.modality))


def val_pools(session: Session, phase: Phase) -> dict[str, Pool]:
    """A matched validation pool for each pair of a phase and of `trainer.val_pairs`, from the sources that hold both of
    its sides. Raises `UserError` for one of the latter that no source holds.
    """
    run, found = session.run, {}
    asked = [name.split("-") for name in run.trainer.val_pairs]
    for of in [*(pair.of for pair in phase.pairs), *asked]:
        held = [manifest for manifest in session.events.val if all(manifest.uses(name) for name in of)]
        if held:
            pool = load_pool(held, run.modality, of, max_bad_fraction=1.0, bad=session.bad)
            found[pair_name(of[0], of[1], run.pivot)] = pool
        elif of in asked:
            raise UserError(
                f"trainer.val_pairs: no source in data.val holds both {of[0]} and {of[1]}: add one, or leave them out"
            )
    return found


def chooses(session: Session, phase: Phase) -> str | None:
    """The metric that chooses the weights of a phase: `keep_best` where the phase trains its pair.

    Of a pair that no phase trains, it chooses in the last one.
    """
    if session.run.trainer.keep_best is None:
        return None
    found = METRIC.fullmatch(session.run.trainer.keep_best)
    assert found is not None
    trained = [each for each in session.phases if any({found["a"], found["b"]} == set(pair.of) for pair in each.pairs)]
    if phase not in (trained or session.phases[-1:]):
        return None
    return f"val/{pair_name(found['a'], found['b'], session.run.pivot)}/{found['k']}"


def fit(session: Session, phase: Phase, index: int, first_step: int, saved: Saved | None) -> None:
    """Trains one phase, from a checkpoint within it where there is one."""
    run, space = session.run, session.space
    module = BindModule(
        space,
        phase.pairs,
        steps=phase.steps,
        loss=run.loss,
        optim=run.optim,
        freeze=phase.freeze,
        lr=phase.lr,
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
        if step >= phase.steps:
            return
    manifests = [session.events.train[i] for i in phase.sources]
    module.sources = {str(manifest.path): manifest.sha256 for manifest in manifests}
    data = data_of(session, phase, index, manifests)
    data.start_step = step * run.trainer.accumulate
    module.teachers = teachers_of(session, phase)
    trainer = trainer_of(session, phase, index, first_step + step)
    trained = sorted(phase.members - set(still_members(space, phase)))
    with faster(space, run.trainer, trained), one_sentence():
        trainer.fit(module, datamodule=data, ckpt_path=None if saved is None else saved.path, weights_only=True)


def data_of(session: Session, phase: Phase, index: int, manifests: list[Manifest]) -> BindData:
    """The batches of a phase; of modalities that stand still, their vectors, computed once."""
    run, still = session.run, still_members(session.space, phase)
    space = session.space.to(device_of(run))
    vectors = cache_vectors(space, still, manifests, session.bad, session.cache, shown=run.trainer.progress)
    space.cpu()  # Lightning moves it where it trains
    steps = phase.steps * run.trainer.accumulate
    settings = run.data if phase.batch is None else replace(run.data, batch=phase.batch)
    data = BindData(run.modality, manifests, [], phase.pairs, settings, steps, seed=run.seed + index, vectors=vectors)
    data.in_chunks = run.trainer.micro_batch is not None
    return data


def still_members(space: Space, phase: Phase) -> list[str]:
    """Modalities of the phase's pairs whose towers stand still."""
    return sorted(wholly_frozen(space, phase.freeze) & {name for pair in phase.pairs for name in pair.of})


def callbacks_of(session: Session, phase: Phase, index: int) -> list[L.Callback]:
    """In the order in which they act: validation puts the best weights back before the last checkpoint is written."""
    run, folder = session.run, session.folder
    rows = sum(len(manifest.rows) for manifest in [*session.events.train, *session.events.val])
    found: list[L.Callback] = [ShowProgress(phase.name, phase.steps, run.trainer.progress)]
    pools = val_pools(session, phase)
    found.append(WatchBadRows(session.bad, rows, run.data.max_bad_fraction))
    if (hubs := hubs_of(session, phase)) is not None:
        found.append(hubs)
    if pools:
        still = still_members(session.space, phase)
        found.append(Validate(pools, run.trainer.val_every, chooses(session, phase), still, session.cache))
    return [*found, SaveLast(folder / "checkpoints" / "last.ckpt", run.trainer.checkpoint_every, index)]


def loggers_of(run: TrainRun, folder: Path, start: int) -> list[Logger]:
    """metrics.csv, and TensorBoard unless it is switched off."""
    found: list[Logger] = [MetricsFile(folder / "metrics.csv", step=start)]
    if run.logger.tensorboard:
        found.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    return found


def trainer_of(session: Session, phase: Phase, index: int, start: int) -> L.Trainer:
    """The Lightning Trainer of one phase; `start`: the step over all phases that it begins at."""
    run, folder, clock = session.run, session.folder, StepClock()
    report = ReportThroughput(phase.name, clock, run.data.workers, folder / THROUGHPUT, session.throughput)
    several = run.trainer.devices * run.trainer.nodes > 1
    return L.Trainer(
        max_steps=phase.steps,
        max_epochs=-1,
        accelerator=run.trainer.accelerator,
        devices=run.trainer.devices,
        num_nodes=run.trainer.nodes,
        strategy=DDPStrategy(find_unused_parameters=True) if several else "auto",
        precision=precision(run.trainer.precision, run.trainer.accelerator),  # type: ignore[arg-type]
        accumulate_grad_batches=run.trainer.accumulate,
        logger=loggers_of(run, folder, start),
        callbacks=[report, *callbacks_of(session, phase, index)],
        profiler=clock,
        plugins=[WholeCheckpoints(), *cluster()],
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        log_every_n_steps=run.trainer.log_every,
    )

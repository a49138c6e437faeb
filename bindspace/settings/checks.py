"""Values that are of the right type and still make no sense: refused before anything slow is imported."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from bindspace.contract import Head, ModalityConfig, UserError
from bindspace.settings.pairs import check_validation, frozen, resolve_pairs, trainable_pairs, unpaired
from bindspace.settings.run import Pair, TrainRun
from bindspace.settings.terms import check_terms

Check = tuple[str, Callable[[Any], bool], str]
AT_LEAST_1: tuple[Callable[[Any], bool], str] = (lambda value: value >= 1, "1 or more")
AT_LEAST_0: tuple[Callable[[Any], bool], str] = (lambda value: value >= 0, "0 or more")
ABOVE_0: tuple[Callable[[Any], bool], str] = (lambda value: value > 0, "more than 0")
SHARE: tuple[Callable[[Any], bool], str] = (lambda value: 0 <= value < 1, "a share from 0 to below 1")
CHECKS: list[Check] = [
    ("dim", *AT_LEAST_1),
    ("data.batch", lambda value: value >= 2, "2 or more, since the others of a batch are the negatives"),
    ("data.val_fraction", *SHARE),
    ("data.val_max", *AT_LEAST_1),
    ("data.max_bad_fraction", lambda value: 0 <= value <= 1, "a share from 0 to 1"),
    ("data.workers", *AT_LEAST_0),
    ("data.memory_gb", *AT_LEAST_0),
    ("optim.lr", *ABOVE_0),
    ("optim.weight_decay", *AT_LEAST_0),
    ("optim.warmup", *SHARE),
    ("optim.clip", *AT_LEAST_0),
    ("trainer.devices", *AT_LEAST_1),
    ("trainer.nodes", *AT_LEAST_1),
    ("trainer.micro_batch", lambda value: value is None or value >= 1, "1 or more, or null"),
    ("trainer.accumulate", *AT_LEAST_1),
    ("trainer.checkpoint_every", *AT_LEAST_1),
    ("trainer.val_every", *AT_LEAST_0),
    ("trainer.log_every", *AT_LEAST_1),
    ("benchmark.permutations", *AT_LEAST_1),
    ("benchmark.batch_size", *AT_LEAST_1),
]
BENCHMARK_CHECKS = [check for check in CHECKS if check[0].startswith(("benchmark.", "data."))]


def check_run(run: TrainRun) -> list[Pair]:
    """The pairs that are trained, of a run whose values all make sense. Raises `UserError` for one that does not."""
    check_values(run, CHECKS)
    if run.loss is None:
        raise UserError("loss is not set: choose one, e.g. loss=learned")
    if run.benchmark.published:
        raise UserError(
            "a table of published results is measured by `bindspace benchmark`, on data sets of its own: leave its "
            "suite out of `bindspace train`"
        )
    if not run.stages:
        raise UserError("stages is empty, so nothing would be trained: choose a schedule, e.g. schedule=joint")
    for index, stage in enumerate(run.stages):
        if stage.steps < 1:
            raise UserError(f"stages.{index}.steps: expected 1 or more, got {stage.steps}")
        if stage.batch is not None and stage.batch < 2:
            expected = "2 or more, since the others of a batch are the negatives, or null for data.batch"
            raise UserError(f"stages.{index}.batch: expected {expected}, got {stage.batch}")
    for name, config in run.modality.items():
        config.tune.check(f"modality.{name}.tune")
    pairs = resolve_pairs(run)
    check_validation(run, pairs)
    _check_sources(run)
    _check_heads(run)
    if run.extend is None and (untrained := unpaired(run, pairs)):
        warnings.warn(
            f"no pair contains {', '.join(untrained)}, so it is not trained: leave it out of modality", stacklevel=2
        )
    trained = trainable_pairs(pairs, frozen(run.modality))
    for pair in pairs:
        if pair not in trained:
            name = "-".join(pair.of)
            warnings.warn(f"both towers of {name} are frozen: the pair is not trained, nor recorded", stacklevel=2)
    check_terms(run, trained)
    for config in run.callbacks.values():
        config.check(run)
    return trained


def _check_heads(run: TrainRun) -> None:
    """A tower with an embedding space of its own fixes `dim`; another head on its weights warns."""
    for name, config in run.modality.items():
        if config.head is Head.identity:
            if config.width != run.dim:
                raise UserError(
                    f"dim={run.dim}: modality.{name} outputs embeddings of {config.width} dimensions (head="
                    f"identity): set dim={config.width}, or leave dim out"
                )
        elif config.weights is not None and own_space(type(config)):
            warnings.warn(
                f"modality.{name}.head={config.head.name} puts a random projection on a pretrained embedding space: "
                "its alignment with other modalities is lost; leave head out to keep it",
                stacklevel=2,
            )


def own_space(kind: type[ModalityConfig]) -> bool:
    """Whether towers of an implementation have an embedding space of their own by default."""
    return any(item.name == "head" and item.default is Head.identity for item in fields(kind))


def check_values(run: Any, checks: list[Check]) -> None:
    """Raises `UserError` for the first setting whose value is out of range; leaves out those that the run lacks."""
    for key, fits, expected in checks:
        value = run
        for part in key.split("."):
            value = getattr(value, part)
        if not fits(value):
            raise UserError(f"{key}: expected {expected}, got {value}")


def _check_sources(run: TrainRun) -> None:
    data = run.data
    if data.dataset is None and not data.train:
        raise UserError("no training data: write 'data.train=[{path: my/manifest.jsonl}]'")
    for split, sources in (("train", data.train), ("val", data.val), ("test", data.test)):
        for index, source in enumerate(sources):
            if source.weight <= 0:
                raise UserError(f"data.{split}.{index}.weight: expected more than 0, got {source.weight}")

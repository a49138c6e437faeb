"""Checks of a plugin's module, settings, `example`, `read`, `prepare` and `show`."""

from __future__ import annotations

import copy
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindspace.contract import BadSample, Cell, ModalityConfig, Size, UserError, unknown
from bindspace.settings import from_primitives, to_primitives
from bindspace.testing.kit import Check, Failed, checked, expect, not_applicable
from bindspace.testing.subject import CLOSE, CONCEPTS, ROWS, Subject, rows_of, same

CHECKS: list[Check] = []
SLOW = (
    "torch", "torchvision", "torchaudio", "timm", "lightning", "transformers", "open_clip", "tensorflow", "jax",
    "numpy", "scipy", "pandas", "PIL", "cv2", "soundfile", "librosa", "matplotlib",
)  # fmt: skip
NOISE = bytes(range(255, -1, -1))  # not the start of any format, and not UTF-8


@checked("modality", CHECKS)
def imports_nothing_slow(subject: Subject) -> None:
    """Listing plugins imports the module, so torch and numpy must be imported inside the methods."""
    module = subject.plugin.value.partition(":")[0]
    code = f"import sys, {module}; print(*[name for name in {SLOW} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    expect(done.returncode == 0, f"`import {module}` fails on its own: {done.stderr.strip().splitlines()[-1:]}")
    names = done.stdout.split()
    expect(not names, f"`import {module}` imports {', '.join(names)}{_import_line(subject, names)}")


def _import_line(subject: Subject, names: list[str]) -> str:
    source = Path(inspect.getfile(type(subject.config)))
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        if re.match(rf"(import|from) ({'|'.join(names)})\b", line):
            return f" (line {number}: `{line}`)"
    return ""


@checked("modality", CHECKS)
def settings_survive_a_run_and_a_space(subject: Subject) -> None:
    """The settings survive a run's config.yaml and a space's space.json unchanged."""
    import yaml

    config = subject.config
    from_space = from_primitives(type(config), to_primitives(config), f"modality.{subject.name}")
    expect(from_space == config, f"a space would save {config} and load {from_space}")
    values = yaml.safe_load(yaml.safe_dump(to_primitives(config)))
    from_run = from_primitives(type(config), values, f"modality.{subject.name}", trusted=True)
    expect(from_run == config, f"a run would save {config} and load {from_run}")


@checked("sizes", CHECKS)
def sizes_fit_their_settings(subject: Subject) -> str | None:
    """The size preset (size=small|base) sets these values, so they need the types of the fields."""
    if not subject.config.sizes:
        not_applicable("`sizes` is empty: every size builds the same tower")
    for size, values in subject.config.sizes.items():
        expect(size in Size.__members__, unknown("size", size, Size.__members__))
        from_primitives(type(subject.config), to_primitives(values), f"sizes.{size}")
    return ", ".join(subject.config.sizes)


@checked("example", CHECKS)
def example_follows_its_generator(subject: Subject) -> None:
    """The same generator gives the same example, another gives another, and each concept has an example."""
    for concept in range(CONCEPTS):
        first, again, other = (subject.example(concept, seed) for seed in (1, 1, 2))
        expect(same(first, again), f"concept {concept}: two generators with the same seed gave different examples")
        several = concept > 0 or not same(first, other) or not same(first, subject.example(concept, 3))
        expect(several, "concept 0: three seeds made one and the same example: `rng` has no effect")
    zero, one = (pickle.dumps(subject.example(concept, 1)) for concept in (0, 1))
    expect(zero != one, "concepts 0 and 1 look the same: `concept` has no effect")


@checked("example", CHECKS)
def examples_can_be_written(subject: Subject) -> None:
    """A data set writes examples as files and manifests, so that a new modality can be trained without data."""
    for concept in range(CONCEPTS):
        source, info = subject.example(concept, 1)
        if subject.config.cell is Cell.path:
            expect(isinstance(source, bytes | str | Path), f"expected bytes or a path, got {type(source).__name__}")
            expect(isinstance(source, bytes) or Path(source).is_file(), f"expected a file, there is none at {source}")
        else:
            _expect_plain(source, "the source")
        for key, value in info.items():
            _expect_plain(value, f"info[{key!r}]")


def _expect_plain(value: Any, what: str) -> None:
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Failed(
            f"{what}: expected what a manifest can hold, strings, numbers or lists of them ({error})"
        ) from error


@checked("example", CHECKS)
def workers_can_be_sent_to(subject: Subject) -> None:
    """Loader workers get the config by pickle and send samples back, so both must support pickle."""
    there = pickle.loads(pickle.dumps(subject.config))
    expect(there == subject.config, f"the config comes back from pickle as {there}")
    expect(
        same(there.example(np.random.default_rng(3), 4), subject.config.example(np.random.default_rng(3), 4)),
        "a copy of the config makes another example of the same seed",
    )
    sample = subject.samples[0]
    expect(same(pickle.loads(pickle.dumps(sample)), sample), "a sample comes back from pickle as another")


@checked("read", CHECKS)
def read_gives_one_answer(subject: Subject) -> None:
    """The same source always gives the same sample, as a file and as bytes: embeddings of frozen towers are cached."""
    for concept in range(3):
        source, info = subject.example(concept, 1)
        sample = subject.config.read(source, info)
        expect(same(sample, subject.config.read(source, info)), f"example {concept} read twice gives two samples")
        if isinstance(source, bytes) and subject.config.cell is Cell.path:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "example"
                path.write_bytes(source)
                from_file = subject.config.read(path, info)
            expect(same(sample, from_file), f"example {concept} read from a file differs from its bytes")


@checked("read", CHECKS)
def read_refuses_what_it_must(subject: Subject) -> str:
    """Input that violates `expects` raises BadSample with a reason: a wrong guess would train silently."""
    refused = list(_refused(subject))
    for what, source, info in refused:
        reason = _reason(subject.config, source, info)
        expect(reason is not None, f"expected BadSample for {what}, got a sample: raise BadSample")
        expect(str(reason).strip(), f"{what}: BadSample without a reason: say what was expected and what was found")
    source, info = subject.example(0, 1)
    if isinstance(source, bytes):
        _reason(
            subject.config, source[: len(source) // 2], info
        )  # some formats cannot detect it; other exceptions still fail
    declared = len(subject.config.rejects())
    return f"{len(refused)} sources, {declared} of them from `rejects`"


def _refused(subject: Subject) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Sources that every plugin must refuse, by the type of its examples; then those of its `rejects`."""
    source, info = subject.example(0, 1)
    if isinstance(source, bytes):
        yield "a file of 0 bytes", b"", info
        yield "a file of no known format", NOISE, info
    elif isinstance(source, str):
        yield "an empty string", "", info
    elif isinstance(source, np.ndarray):
        yield "an empty array", source[:0], info
        if source.dtype.kind == "f":
            yield "an array of NaN", np.full_like(source, np.nan), info
    for index, (declared, its_info) in enumerate(subject.config.rejects()):
        yield f"rejects()[{index}]", declared, its_info


def _reason(config: ModalityConfig, source: Any, info: dict[str, Any]) -> BadSample | None:
    try:
        config.read(source, info)
    except BadSample as reason:
        return reason
    return None


@checked("prepare", CHECKS)
def prepare_gives_rows_of_tensors(subject: Subject) -> str:
    """The core moves, slices and averages a batch by its first dimension, and passes it to `forward` by name."""
    parameters = inspect.signature(subject.encoder.forward).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    needed = {name for name, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    for batch in (subject.batch, subject.config.prepare(subject.samples[:ROWS], seeds=list(range(ROWS)))):
        _check_rows(batch, ROWS)
        keys = set(rows_of(batch))
        expect(needed <= keys, f"`forward` needs {sorted(needed - keys)}, which `prepare` does not return")
        expect(open_ended or keys <= set(parameters), f"`forward` has no parameters {sorted(keys - set(parameters))}")
    return ", ".join(f"{key} {tuple(value.shape)}" for key, value in subject.batch.items())


def _check_rows(batch: dict[str, Tensor], count: int) -> None:
    expect(isinstance(batch, dict) and rows_of(batch), f"expected tensors by name, got {type(batch).__name__}")
    for key, value in batch.items():
        expect(isinstance(value, Tensor), f"{key}: expected a tensor, got {type(value).__name__}")
        expect(value.device.type == "cpu", f"{key}: expected a tensor on the CPU, got one on {value.device}")
    rows = {key: value.shape[0] if value.ndim else 0 for key, value in batch.items()}
    expect(len(set(rows.values())) == 1, f"expected as many rows in each tensor, got {rows}")
    owner = batch.get("owner")
    if owner is None:
        total = next(iter(rows.values()))
        expect(total == count, f"expected one row per sample, or `owner`; got {total} rows of {count} samples")
        return
    expect(owner.dtype == torch.int64 and owner.ndim == 1, f"owner: expected int64 (R,), got {owner.dtype}")
    expect(set(owner.tolist()) == set(range(count)), f"owner: expected each of 0..{count - 1}, got {owner.tolist()}")


@checked("prepare", CHECKS)
def evaluation_repeats_itself(subject: Subject) -> None:
    """Without seeds `prepare` is deterministic: pools, cached embeddings and the benchmark rely on it."""
    first, again = (subject.config.prepare(subject.samples) for _ in range(2))
    expect(same(first, again), "`prepare(samples)` is not deterministic")


@checked("prepare", CHECKS)
def training_follows_its_seeds(subject: Subject) -> str:
    """Augmentation depends on the event's seed alone, so that all modalities are cut alike and runs can resume."""
    samples, seeds = subject.samples[:ROWS], list(range(ROWS))
    varied = []
    for augment in ("none", "weak", "strong"):
        first, again = (subject.config.prepare(samples, seeds=seeds, augment=augment) for _ in range(2))
        expect(same(first, again), f"augment={augment}: the same seeds gave two different batches")
        together = subject.vectors(samples, seeds=seeds, augment=augment)
        for index, sample in enumerate(samples):
            alone = subject.vectors([sample], seeds=[seeds[index]], augment=augment)[0]
            gap = float((alone - together[index]).abs().max())
            expect(
                gap <= CLOSE,
                f"augment={augment}: augmentation of sample {index} depends on its batch (differs by {gap:.2g})",
            )
        if not same(first, subject.config.prepare(samples, seeds=[seed + 100 for seed in seeds], augment=augment)):
            varied.append(augment)
    if not varied:
        not_applicable("no value of `augment` changes anything")
    return f"augments with augment={', '.join(varied)}"


@checked("prepare", CHECKS)
def samples_stay_as_they_are(subject: Subject) -> None:
    """Decoded samples are cached in memory, so `prepare` must not modify them."""
    before = copy.deepcopy(subject.samples)
    ways: list[dict[str, Any]] = [{}, {"seeds": list(range(len(before))), "augment": "strong"}]
    for training in ways:
        subject.config.prepare(subject.samples, **training)
        expect(same(before, subject.samples), f"`prepare` modified its samples ({training or 'evaluation'})")


@checked("prepare", CHECKS)
def unknown_augmentation_is_refused(subject: Subject) -> None:
    """An ignored typo in `augment` would silently train without augmentation."""
    try:
        subject.config.prepare(subject.samples[:1], seeds=[0], augment="wekae")
    except UserError:
        return
    except Exception as error:
        raise Failed(f"augment='wekae' raised {type(error).__name__}, not UserError ({error})") from error
    raise Failed("augment='wekae' was accepted: call `bindspace.io.sequences.check_augment(augment)`")


@checked("show", CHECKS)
def show_draws_a_picture(subject: Subject) -> str:
    """Samples should be inspected by a person before trusting results."""
    from PIL.Image import Image

    if type(subject.config).show is ModalityConfig.show:
        not_applicable("`show` is not implemented")
    picture = subject.config.show(subject.samples[0])
    expect(isinstance(picture, Image), f"expected a PIL image, got {type(picture).__name__}")
    return f"{picture.width} x {picture.height}"

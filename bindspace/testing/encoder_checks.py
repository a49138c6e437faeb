"""Checks of the encoder: its output, and its invariance to the batch, padding, precision, and saving."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bindspace.testing.kit import Check, Failed, checked, expect, not_applicable
from bindspace.testing.subject import CLOSE, ROWS, Subject, rows_of, same

CHECKS: list[Check] = []
BF16_COSINE = 0.99


@checked("encoder", CHECKS)
def features_have_their_shape(subject: Subject) -> str:
    """The head expects floats (rows, width), and one NaN invalidates the whole batch."""
    with torch.no_grad():
        features = subject.encoder(**rows_of(subject.batch))
    expect(isinstance(features, Tensor), f"expected a tensor, got {type(features).__name__}")
    rows, width = len(next(iter(subject.batch.values()))), subject.config.width
    expect(features.shape == (rows, width), f"expected {(rows, width)}, got {tuple(features.shape)}")
    expect(features.dtype == torch.float32, f"expected float32, got {features.dtype}")
    expect(features.isfinite().all(), "expected finite features, got NaN or infinity")
    return f"{tuple(features.shape)} {str(features.dtype).removeprefix('torch.')}"


@checked("encoder", CHECKS)
def rows_do_not_see_each_other(subject: Subject) -> str:
    """A vector depends on its sample alone, not on the batch; batch statistics would violate it."""
    together = subject.vectors(subject.samples)
    alone = torch.cat([subject.vectors([sample]) for sample in subject.samples])
    gap = float((together - alone).abs().max())
    expect(gap <= CLOSE, f"vectors alone and in a batch differ by {gap:.2g}")
    return f"largest difference {gap:.1g}"


@checked("encoder", CHECKS)
def padding_changes_nothing(subject: Subject) -> str:
    """A short sample in a batch with a long one is padded; the padding must not affect its vector."""
    sizes = [
        sum(value[:1].numel() for value in subject.config.prepare([sample]).values()) for sample in subject.samples
    ]
    short, long = sizes.index(min(sizes)), sizes.index(max(sizes))
    if sizes[short] == sizes[long]:
        not_applicable("all samples have the same size: nothing is padded")
    beside = subject.vectors([subject.samples[short], subject.samples[long]])[0]
    gap = float((beside - subject.vectors([subject.samples[short]])[0]).abs().max())
    expect(gap <= CLOSE, f"padding changes the vector of a short sample by {gap:.2g}")
    return f"rows of {sizes[short]} and of {sizes[long]} numbers"


@checked("prepare", CHECKS)
def rows_of_an_owner_are_averaged(subject: Subject) -> str:
    """A sample of several rows is the mean of their unit vectors, in any batch."""
    batches = [subject.config.prepare([sample]) for sample in subject.samples]
    several = next((index for index, batch in enumerate(batches) if "owner" in batch), None)
    if several is None:
        not_applicable("no example gives more than one row")
    with torch.no_grad():
        rows = subject.tower(**rows_of(batches[several]))
    expected = F.normalize(rows.mean(0), dim=0)
    beside = subject.vectors([subject.samples[several - 1], subject.samples[several]])[1]
    gap = float((beside - expected).abs().max())
    expect(gap <= CLOSE, f"the vector of a sample of {len(rows)} rows is {gap:.2g} away from their mean: check `owner`")
    return f"{len(rows)} rows"


@checked("encoder", CHECKS)
def evaluation_mode_draws_nothing(subject: Subject) -> None:
    """Evaluation is deterministic: no dropout and the like."""
    first, again = subject.vectors(subject.samples[:ROWS]), subject.vectors(subject.samples[:ROWS])
    expect(same(first, again), f"two passes differ by {float((first - again).abs().max()):.2g}")


@checked("encoder", CHECKS)
def a_frozen_tower_stands_still(subject: Subject) -> None:
    """A frozen tower gets no gradient, and its buffers do not change: its vectors are computed once."""
    tower = subject.new_tower().requires_grad_(False).eval()
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    z = tower(**subject.batch)
    expect(not z.requires_grad, "a tower without trainable parameters returns vectors that require a gradient")
    other = torch.nn.Parameter(torch.ones_like(z))
    (z * other).sum().backward()
    touched = [name for name, parameter in tower.named_parameters() if parameter.grad is not None]
    expect(not touched, f"a gradient reached {touched[:3]} of a frozen tower")
    moved = [name for name, value in tower.state_dict().items() if not same(value, before[name])]
    expect(not moved, f"{moved[:3]} changed in a forward pass of a frozen tower")


@checked("encoder", CHECKS)
def bf16_agrees_with_float32(subject: Subject) -> str:
    """Training uses bf16 if the hardware supports it, and the space is then used in float32."""
    exact = subject.vectors(subject.samples[:ROWS])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = subject.vectors(subject.samples[:ROWS])
    expect(rounded.isfinite().all(), "NaN or infinity in bf16")
    cosine = float((exact * rounded).sum(1).min())
    expect(cosine >= BF16_COSINE, f"cosine {cosine:.4f} between bf16 and float32, expected {BF16_COSINE} or more")
    return f"smallest cosine {cosine:.4f}"


class _Bytes(TorchDispatchMode):
    """Sums the bytes of every tensor that an operation returns: exact, independent of other load."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.total += sum(leaf.nbytes for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out


@checked("encoder", CHECKS)
def memory_grows_with_the_rows(subject: Subject) -> str:
    """Memory grows linearly with the batch; quadratic growth would prevent large batches."""
    row, encoder = {key: value[:1] for key, value in rows_of(subject.batch).items()}, subject.encoder
    once, twice, four = (_forward_bytes(encoder, row, rows) for rows in (ROWS, 2 * ROWS, 4 * ROWS))
    first, second = twice - once, four - twice
    expect(second <= 2 * first, f"{ROWS} more rows take {first:,} bytes, the next {2 * ROWS} take {second:,}")
    return f"{first // ROWS:,} bytes a row"


def _forward_bytes(encoder: nn.Module, row: Mapping[str, Tensor], rows: int) -> int:
    batch = {key: value.expand(rows, *value.shape[1:]).contiguous() for key, value in row.items()}
    with torch.no_grad(), _Bytes() as counted:
        encoder(**batch)
    return counted.total


@checked("encoder", CHECKS)
def torch_export_takes_it(subject: Subject) -> str:
    """Deployment exports a tower; an encoder that cannot be exported states why in `not_exportable`."""
    if subject.config.not_exportable:
        not_applicable(f"stated: {subject.config.not_exportable}")
    rows = rows_of(subject.batch)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own warnings
        try:
            program = torch.export.export(subject.encoder, (), dict(rows))
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise Failed(f"not exportable ({first}): fix it, or say why in `not_exportable`") from error
        gap = float((program.module()(**rows) - subject.encoder(**rows)).abs().max())
    expect(gap <= CLOSE, f"the exported encoder differs by {gap:.2g}")
    return f"largest difference {gap:.1g}"


@checked("encoder", CHECKS)
def blocks_and_tokens_fit(subject: Subject) -> str:
    """If present, `blocks` are modules of the encoder (for `tune.unfreeze_last`), and `tokens` are (rows, n, width)."""
    encoder = subject.encoder
    found = []
    if (blocks := getattr(encoder, "blocks", None)) is not None:
        strangers = [block for block in blocks if block not in set(encoder.modules())]
        expect(not strangers, "`blocks` has modules that do not belong to the encoder")
        found.append(f"{len(blocks)} blocks")
    if (tokens := getattr(encoder, "tokens", None)) is not None:
        with torch.no_grad():
            out = tokens(**rows_of(subject.batch))
        rows, width = len(next(iter(subject.batch.values()))), subject.config.width
        shape = tuple(out.shape)
        expect(len(shape) == 3 and (shape[0], shape[2]) == (rows, width), f"tokens: got {shape}, width is {width}")
        found.append(f"tokens {shape}")
    return ", ".join(found) or not_applicable("it has neither `blocks` nor `tokens`")


@checked("encoder", CHECKS)
def a_saved_space_is_the_same(subject: Subject) -> None:
    """A saved and loaded space gives bitwise identical vectors: all state of a tower is in its tensors."""
    from bindspace.space import load, save

    name, samples = subject.name, subject.samples[:ROWS]
    with tempfile.TemporaryDirectory() as folder:
        again = load(save(subject.space, Path(folder) / "space"))
    expect(again.configs[name] == subject.config, f"the settings were loaded as {again.configs[name]}")
    batch: dict[str, Any] = {name: subject.config.prepare(samples)}
    before, after = (space.encode(**batch)[name] for space in (subject.space, again))
    expect(same(before, after), f"vectors differ by {float((before - after).abs().max()):.2g} after save and load")

"""The contract of a modality plugin, version 1. Standard library only, so importing it is cheap.

A plugin subclasses `ModalityConfig`, and registers the class as an entry point in the group
`bindspace.modalities`. Everything a plugin needs is imported inside the methods that need it, so that
listing plugins imports no torch. `docs/all-of-bindspace.md` tells where each method is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace.contract.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

CONTRACT = 1


class Size(Enum):
    """The size preset: it scales the towers (`ModalityConfig.sizes`), the space, the batch and the steps together."""

    tiny = "tiny"
    small = "small"
    base = "base"


class BadSample(ValueError):
    """Raised by `read` for a sample that violates `expects`; the message says what was expected and what was found.

    >>> raise BadSample("expected six channels (accelerometer x y z, gyroscope x y z), got 3")
    Traceback (most recent call last):
    bindspace.contract.modality.BadSample: expected six channels (accelerometer x y z, gyroscope x y z), got 3
    """


class Cell(Enum):
    """The content of a modality's manifest cells."""

    path = "path"
    value = "value"


class Head(Enum):
    """The projection of features into the space. `identity`: the tower ends in the space already, and fixes its dim.

    `metric`: linear, with a learned bilinear map (a learned metric) against a frozen pivot.
    """

    linear = "linear"
    mlp = "mlp"
    metric = "metric"
    identity = "identity"


@dataclass(kw_only=True)
class Lora:
    """Low-rank adapters on the layers of a frozen encoder: `modality.<name>.tune.lora.*`."""

    rank: int = 0  # 0: none
    alpha: float = 16.0  # the adapter's output is scaled by alpha / rank
    dropout: float = 0.0
    targets: list[str] | None = None  # ends of layer names, e.g. [qkv, proj]; None: linear, convolution, attention


@dataclass(kw_only=True)
class Tune:
    """Training settings of a tower: `modality.<name>.tune.*`."""

    freeze: bool = False  # frozen: evaluation mode, outside the optimiser; checked after the run
    unfreeze_last: int = 0  # with freeze: this many of the last `encoder.blocks` stay trainable
    lr: float = 1.0  # factor on optim.lr
    layer_decay: float = 1.0  # factor on the learning rate from each of `encoder.blocks` to the one before it
    lora: Lora = field(default_factory=Lora)

    def check(self, where: str) -> None:
        """Raises `UserError` for invalid values or combinations. `where`: `modality.<name>.tune`."""
        checks = [
            ("unfreeze_last", self.unfreeze_last, self.unfreeze_last >= 0, "0 or more"),
            ("lr", self.lr, self.lr >= 0, "0 or more"),
            ("layer_decay", self.layer_decay, 0 < self.layer_decay <= 1, "more than 0 and at most 1"),
            ("lora.rank", self.lora.rank, self.lora.rank >= 0, "0 or more"),
            ("lora.alpha", self.lora.alpha, self.lora.alpha > 0, "more than 0"),
            ("lora.dropout", self.lora.dropout, 0 <= self.lora.dropout < 1, "a share from 0 to below 1"),
            ("lora.targets", self.lora.targets, self.lora.targets != [], "null, or at least one name"),
        ]
        for key, value, fits, expected in checks:
            if not fits:
                raise UserError(f"{where}.{key}: expected {expected}, got {value}")
        if self.unfreeze_last and not self.freeze:
            raise UserError(f"{where}.unfreeze_last={self.unfreeze_last} has no effect: add {where}.freeze=true")
        if self.freeze and self.lora.rank:
            raise UserError(
                f"{where}.freeze=true would freeze the adapters: with lora.rank the encoder is frozen anyway,"
                " choose one of the two"
            )


@dataclass(kw_only=True)
class Bind:
    """Settings of a modality's pair with the pivot: `modality.<name>.bind.*`."""

    weight: float = 1.0
    temperature: float | None = None  # None: loss.temperature
    learned: bool | None = None  # None: loss.learned
    loss: str | None = None  # the name of another term for this pair, with its defaults; None: that of the run


@dataclass(kw_only=True)
class ModalityConfig:
    """One implementation of a modality: its settings, and the methods that read, prepare and encode.

    Fields are settings (`modality.audio.width=512`) and are saved with a space. Class variables are part of the code
    and are never loaded from a file.
    """

    modality: ClassVar[str]  # name of the modality: manifest column, keyword of `Space.embed`
    expects: ClassVar[str]  # expected shape, dtype, rate, unit, range; quoted in errors
    contract: ClassVar[int] = CONTRACT
    cell: ClassVar[Cell] = Cell.path
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # defaults of fields for the size presets small and base
    small: ClassVar[Mapping[str, Any]] = {}  # settings of a small instance, which the conformance kit builds
    near: ClassVar[int] = 0  # fingerprints that differ in at most this many bits are near-duplicates
    slow: ClassVar[str] = ""  # why a short run from random weights cannot beat chance; empty: it can
    not_exportable: ClassVar[str] = ""  # why `torch.export` does not support the encoder; empty: it does

    width: int = 256  # of the encoder's features
    head: Head = Head.linear
    weights: str | None = None  # a local file of pretrained weights; never saved into a space
    tune: Tune = field(default_factory=Tune)
    bind: Bind = field(default_factory=Bind)

    def read(self, source: Any, info: Mapping[str, Any]) -> Any:
        """Decodes one sample and checks that it matches `expects`.

        `source` is a `pathlib.Path`, `bytes`, an array or tensor, or a `str` (for `Cell.value`). `info` holds the row's
        `<modality>.<key>` columns over the source's `read` settings, plus the parsed media fragment:
        `t` = (start, end) in seconds, `xywh` = (x, y, width, height). Deterministic. Raises `BadSample`.
        """
        raise NotImplementedError

    def prepare(
        self, samples: Sequence[Any], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """Collates samples from `read` into a batch: tensors with rows first, keyed by the arguments of `forward`.

        `seeds`: one per sample, shared by the modalities of an event; None: evaluation, which is deterministic.
        `augment`: `none`, `weak` or `strong`. Several rows per sample come with an `owner` key: int64 (R,), the index
        of the sample that each row belongs to; the core averages unit vectors by owner and renormalises.
        """
        raise NotImplementedError

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """Builds the trunk: `forward(**batch) -> (R, width)`. `pretrained`: load `weights` if set.

        Optional members that the core uses: `blocks`, a sequence of modules (for `tune`), and
        `tokens(**batch) -> (R, N, width)`.
        """
        raise NotImplementedError

    def declares(self) -> Mapping[str, str] | None:
        """Modalities that the pretrained `weights` were trained with, e.g. `{"text": "open_clip ViT-B-32"}`.

        The value identifies the weights. Two towers were trained together if each names the other with the same value;
        the ledger then starts with that declaration. None: unknown, so the status of its pairs is unknown too.
        """
        return None

    def example(self, rng: np.random.Generator, concept: int) -> tuple[Any, dict[str, Any]]:
        """A generated (source, info) for `read`; concept 0..9 determines the signal, `rng` the nuisance.

        For `Cell.path`, `source` is the bytes of a file, or its path (the suffix is kept); `read` accepts both, and
        needs no suffix if this returns bytes. For `Cell.value` it is the value: a string, a number, or a list or
        array of numbers, which `read` gets back as a list. `info` holds values of `<modality>.<key>` columns:
        strings, numbers, lists. It draws from `rng` alone: the same rng gives the same example. The simulated world
        writes them as files and manifests, one per event, so that a new modality can be trained without data.
        """
        raise NotImplementedError

    def play(self, sample: Any) -> tuple[bytes, str] | None:
        """An audio file for the browser and its MIME type; None for a modality without sound."""
        return None

    def cues(self, sample: Any) -> dict[str, float]:
        """Plain numbers of a sample (duration, loudness): a control of the benchmark measures retrieval by them."""
        return {}

    def fingerprint(self, sample: Any) -> bytes | None:
        """A robust hash of fixed length of a sample from `read`: re-encoding changes few of its bits.

        With `data.near` the benchmark compares test media with training media: fingerprints that differ in at most
        `near` bits are near-duplicates. None: the sample has none. Without this method only equal bytes are found.
        `bindspace.io.fingerprints` has implementations for pictures and sounds.
        """
        return None

    def show(self, sample: Any) -> Image:
        """A picture of a sample, for reports."""
        raise NotImplementedError

    def rejects(self) -> Sequence[tuple[Any, dict[str, Any]]]:
        """Sources, each with its info, that `read` must refuse with `BadSample`; used by the conformance kit."""
        return []

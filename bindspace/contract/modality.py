"""The contract of a modality plugin, version 1. Standard library only: importing it costs nothing.

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
    """What `read` raises for a sample that breaks the promise of `expects`; the message names both sides.

    >>> raise BadSample("expected six channels (accelerometer x y z, gyroscope x y z), got 3")
    Traceback (most recent call last):
    bindspace.contract.modality.BadSample: expected six channels (accelerometer x y z, gyroscope x y z), got 3
    """


class Cell(Enum):
    """What a manifest cell of a modality holds."""

    path = "path"
    value = "value"


class Head(Enum):
    """How features are projected into the space. `identity`: the tower ends in the space already, and fixes its dim.

    `metric`: linear, and a map of the space in which it learns to meet a pivot that stands still.
    """

    linear = "linear"
    mlp = "mlp"
    metric = "metric"
    identity = "identity"


@dataclass(kw_only=True)
class Lora:
    """Low-rank adapters beside the layers of an encoder, which itself stands still: `modality.<name>.tune.lora.*`."""

    rank: int = 0  # 0: none
    alpha: float = 16.0  # what an adapter adds is scaled by alpha / rank
    dropout: float = 0.0
    targets: list[str] | None = None  # ends of layer names, e.g. [qkv, proj]; None: linear, convolution, attention


@dataclass(kw_only=True)
class Tune:
    """How a tower is trained: `modality.<name>.tune.*`."""

    freeze: bool = False  # evaluation mode, outside the optimiser; checked after the run
    unfreeze_last: int = 0  # with freeze: the last so many of `encoder.blocks` stay trainable
    lr: float = 1.0  # factor on optim.lr
    layer_decay: float = 1.0  # factor on the rate from each of `encoder.blocks` to the one before it
    lora: Lora = field(default_factory=Lora)

    def check(self, where: str) -> None:
        """Raises `UserError` for values that make no sense, alone or together. `where`: `modality.<name>.tune`."""
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
                f"{where}.freeze=true leaves no adapter to train: with lora.rank the encoder stands still anyway, so"
                " choose one of the two"
            )


@dataclass(kw_only=True)
class Bind:
    """A modality's pair with the pivot: `modality.<name>.bind.*`."""

    weight: float = 1.0
    temperature: float | None = None  # None: loss.temperature
    learned: bool | None = None  # None: loss.learned
    loss: str | None = None  # the name of another term for this pair, with its defaults; None: that of the run


@dataclass(kw_only=True)
class ModalityConfig:
    """One implementation of a modality: its settings, and how it reads, prepares and encodes.

    Fields are what a user may set (`modality.audio.width=512`) and what a saved space records. Class variables
    belong to the code: they never come from a file.
    """

    modality: ClassVar[str]  # what it serves: manifest column, keyword of `Space.embed`
    expects: ClassVar[str]  # units, rate, range, shape in a sentence; quoted in errors
    contract: ClassVar[int] = CONTRACT
    cell: ClassVar[Cell] = Cell.path
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # other defaults of fields for size=small|base
    small: ClassVar[Mapping[str, Any]] = {}  # settings of a cheap instance, which the conformance kit builds
    near: ClassVar[int] = 0  # fingerprints that differ in at most so many bits are taken for one content, re-encoded
    slow: ClassVar[str] = ""  # why a short run from random weights cannot beat chance, where it cannot
    not_exportable: ClassVar[str] = ""  # why `torch.export` cannot take the encoder, where it cannot

    width: int = 256  # of the encoder's features
    head: Head = Head.linear
    weights: str | None = None  # a local file of pretrained weights; never saved into a space
    tune: Tune = field(default_factory=Tune)
    bind: Bind = field(default_factory=Bind)

    def read(self, source: Any, info: Mapping[str, Any]) -> Any:
        """Decodes one sample and checks what `expects` promises.

        `source` is a `pathlib.Path`, `bytes`, an array or tensor, or a `str` (for `Cell.value`). `info` holds the row's
        `<modality>.<key>` columns over the source's `read` settings, plus what the core parsed from a media fragment:
        `t` = (start, end) in seconds, `xywh` = (x, y, width, height). Deterministic. Raises `BadSample`.
        """
        raise NotImplementedError

    def prepare(
        self, samples: Sequence[Any], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """Turns what `read` returned into a batch: tensors with rows first, keys as the encoder's `forward` names them.

        `seeds`: one per sample, shared by the modalities of an event; None means evaluation, which is deterministic.
        `augment`: `none`, `weak` or `strong`. Several rows per sample come with an `owner` key: int64 (R,), the index
        of the sample that each row belongs to; the core averages unit vectors by owner and normalises again.
        """
        raise NotImplementedError

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """Builds the trunk: `forward(**batch) -> (R, width)`. `pretrained`: load `weights` where they are set.

        Optional members the core knows of: `blocks`, a sequence of modules (for `tune`), and
        `tokens(**batch) -> (R, N, width)`.
        """
        raise NotImplementedError

    def declares(self) -> Mapping[str, str] | None:
        """Of `weights`: by modality that they were trained with, who says so, e.g. `{"text": "open_clip ViT-B-32"}`.

        Two towers were trained with each other if each names the other, in the same words: those say which weights. The
        ledger then begins with that declaration. None: nothing is known of the weights, and neither of what emerges.
        """
        return None

    def example(self, rng: np.random.Generator, concept: int) -> tuple[Any, dict[str, Any]]:
        """A generated (source, info) that `read` takes; concept 0..9 shapes the signal, `rng` is nuisance.

        For `Cell.path`, `source` is the bytes of a file, or the path of one (whose suffix is kept); `read` takes both,
        and needs no suffix where this gives bytes. For `Cell.value` it is the value: a string, a number, or a list or
        array of numbers, which `read` gets back as a list. `info` holds what a manifest can say in `<modality>.<key>`
        columns: strings, numbers, lists. Drawn from `rng` alone: the same rng, the same example. The world writes
        these as files and manifests, one an event, so that a new modality can be trained at once.
        """
        raise NotImplementedError

    def play(self, sample: Any) -> tuple[bytes, str] | None:
        """A file that a browser plays and its MIME type, for a modality that is heard; None for one that is not."""
        return None

    def cues(self, sample: Any) -> dict[str, float]:
        """Plain numbers of a sample (duration, loudness): the benchmark tries how far they alone would get."""
        return {}

    def fingerprint(self, sample: Any) -> bytes | None:
        """A robust hash of what `read` returned, of one length: a copy that was re-encoded changes few of its bits.

        With `data.near` the benchmark compares test media with training media by it, and takes two for near-duplicates
        that differ in at most `near` bits. None: the sample has none. A plugin that does not define it has none at all:
        then only equal bytes are found. `bindspace.io.fingerprints` has one for pictures and one for sounds.
        """
        return None

    def show(self, sample: Any) -> Image:
        """How a person looks at a sample, for reports."""
        raise NotImplementedError

    def rejects(self) -> Sequence[tuple[Any, dict[str, Any]]]:
        """Sources, each with its info, that `read` refuses with `BadSample`: the conformance kit tries them."""
        return []

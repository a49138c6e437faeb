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

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

CONTRACT = 1


class BadSample(ValueError):
    """What `read` raises for a sample that breaks the promise of `expects`; the message names both sides.

    >>> raise BadSample("expected six channels (accelerometer x y z, gyroscope x y z), got 3")
    Traceback (most recent call last):
    bindspace.modality.BadSample: expected six channels (accelerometer x y z, gyroscope x y z), got 3
    """


class Cell(Enum):
    """What a manifest cell of a modality holds."""

    path = "path"
    value = "value"


class Head(Enum):
    """How features are projected into the space. `identity`: the tower ends in the space already, and fixes its dim."""

    linear = "linear"
    mlp = "mlp"
    identity = "identity"


@dataclass(kw_only=True)
class Tune:
    """How a tower is trained: `modality.<name>.tune.*`."""

    freeze: bool = False  # evaluation mode, outside the optimiser; checked after the run
    unfreeze_last: int = 0  # with freeze: the last so many of `encoder.blocks` stay trainable
    lr: float = 1.0  # factor on optim.lr


@dataclass(kw_only=True)
class Bind:
    """A modality's pair with the pivot: `modality.<name>.bind.*`."""

    weight: float = 1.0
    temperature: float | None = None  # None: loss.temperature
    learned: bool | None = None  # None: loss.learned


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

        Optional members the core knows of: `blocks`, a sequence of modules (for `unfreeze_last`), and
        `tokens(**batch) -> (R, N, width)`.
        """
        raise NotImplementedError

    def example(self, rng: np.random.Generator, concept: int) -> tuple[Any, dict[str, Any]]:
        """A generated (source, info) that `read` takes; concept 0..9 shapes the signal, `rng` is nuisance."""
        raise NotImplementedError

    def play(self, sample: Any) -> tuple[bytes, str] | None:
        """A file that a browser plays and its MIME type, for a modality that is heard; None for one that is not."""
        return None

    def cues(self, sample: Any) -> dict[str, float]:
        """Plain numbers of a sample (duration, loudness): the benchmark tries how far they alone would get."""
        return {}

    def show(self, sample: Any) -> Image:
        """How a person looks at a sample, for reports."""
        raise NotImplementedError

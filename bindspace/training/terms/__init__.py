"""Terms of the loss that come with bindspace: their settings. What they build is in a file each, imported when used.

Standard library and the contract only, so that listing plugins imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from bindspace.contract import TermConfig, UserError, unknown
from bindspace.settings import Precision


@dataclass(kw_only=True)
class InfoNceConfig(TermConfig):
    """Symmetric InfoNCE of a pair with in-batch negatives over all ranks (van den Oord et al. 2018; CLIP 2021)."""

    term: ClassVar[str] = "bindspace.training.terms.pair:InfoNce"

    temperature: float = 0.07
    learned: bool = True  # the temperature of each pair is a parameter
    min_temperature: float = 0.01  # a learned temperature is clamped to this
    mask_duplicates: bool = True  # rows with the same content on either side are not negatives of each other
    precision: Precision = Precision.float32  # of the matrix products; auto: bf16 where Tensor Cores or AMX do it

    def check(self, run: Any) -> None:
        """Raises `UserError` for a temperature that is not above 0."""
        for name in ("temperature", "min_temperature"):
            if not getattr(self, name) > 0:
                raise UserError(f"loss.{name}: expected more than 0, got {getattr(self, name)}")


@dataclass(kw_only=True)
class SiglipConfig(InfoNceConfig):
    """The sigmoid loss over all pairings of a batch, with a learned bias (Zhai et al. 2023)."""

    term: ClassVar[str] = "bindspace.training.terms.pair:Siglip"

    temperature: float = 0.1
    bias: float = -10.0  # initial value of a pair's learned bias


@dataclass(kw_only=True)
class LearnedMetricConfig(InfoNceConfig):
    """InfoNCE in a metric that a modality with `head=metric` learns beside a frozen pivot (decision 25)."""

    term: ClassVar[str] = "bindspace.training.terms.pair:LearnedMetric"


class Target(Enum):
    """What a student is aligned with: the reference vectors, weighted by its pivot."""

    proxy = "proxy"  # their mean
    sample = "sample"  # one of them, resampled at each step


@dataclass(kw_only=True)
class DistillationConfig(TermConfig):
    """Distillation through the pivot: the pivot's similarities to vectors of another modality are the student's target.

    `of`: the student, then the modality of the reference vectors, which share no event with the rows of the batch. The
    ledger records the two as `unpaired` (docs/losses.md).
    """

    term: ClassVar[str] = "bindspace.training.terms.distillation:Distillation"

    temperature: float = 0.05  # of the pivot's similarities to the reference vectors
    student_temperature: float | None = None  # of the student's; None: the same
    count: int = 4096  # reference vectors, drawn by the seed; 0: all
    target: Target = Target.proxy

    def check(self, run: Any) -> None:
        """Raises `UserError` for modalities that do not fit, a value out of range, or a student without its pair."""
        shown = f"distillation {'-'.join(self.of)!r}"
        if len(self.of) != 2 or self.of[0] == self.of[1]:
            raise UserError(f"{shown}: expected two different modalities, got {len(set(self.of))}: write of: [A,B]")
        for name in self.of:
            if name not in run.modality:
                hint = f"select it with +modality={name}"
                raise UserError(unknown(f"modality in {shown}", name, run.modality, hint=hint))
        if run.pivot in self.of:
            raise UserError(
                f"{shown}: expected two modalities other than the pivot {run.pivot}: name the student first"
            )
        for name in ("temperature", "student_temperature"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise UserError(f"{shown}: expected {name} to be more than 0, got {getattr(self, name)}")
        if self.count < 0 or self.count == 1:
            raise UserError(f"{shown}: expected a count of 2 or more, or 0 for all, got {self.count}")

    def takes(self, pivot: str) -> list[str]:
        """Aligned rows of the pivot and the student."""
        return [pivot, self.of[0]]

    def references(self) -> dict[str, int]:
        """Vectors of the other modality."""
        return {self.of[1]: self.count}


@dataclass(kw_only=True)
class GramConfig(TermConfig):
    """Contrast by the volume that the vectors of an event span (GRAM: Cicchetti et al., ICLR 2025).

    All pairs of its modalities are trained by it.
    """

    term: ClassVar[str] = "bindspace.training.terms.gram:Gram"
    arity: ClassVar[tuple[int, int | None]] = (3, None)

    temperature: float = 0.07

    def check(self, run: Any) -> None:
        """Raises `UserError` for a temperature that is not above 0."""
        if not self.temperature > 0:
            raise UserError(f"gram: expected a temperature above 0, got {self.temperature}")

    def needed(self) -> int:
        """An event has to hold all of them."""
        return len(self.of)

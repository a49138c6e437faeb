"""Terms that pair modalities and report nothing of it: the ledger has to see it."""

from dataclasses import dataclass
from typing import ClassVar

from bindspace import TermConfig


@dataclass(kw_only=True)
class ProductConfig(TermConfig):
    """The cosines of two modalities of the same events."""

    term: ClassVar[str] = "bindspace_accidents.terms:Product"


@dataclass(kw_only=True)
class JoinedConfig(TermConfig):
    """The second modality with the first and with the third, joined by the ids of the events."""

    term: ClassVar[str] = "bindspace_accidents.terms:Joined"
    arity: ClassVar[tuple[int, int | None]] = (3, 3)


@dataclass(kw_only=True)
class QueueConfig(JoinedConfig):
    """Rows of the third modality are kept from step to step."""

    term: ClassVar[str] = "bindspace_accidents.terms:Queue"


@dataclass(kw_only=True)
class OwnMetricConfig(TermConfig):
    """A linear map of its own between two modalities."""

    term: ClassVar[str] = "bindspace_accidents.terms:OwnMetric"

"""A plugin that was written for an older contract."""

from dataclasses import dataclass
from typing import ClassVar

from bindspace import ModalityConfig


@dataclass(kw_only=True)
class OutdatedConfig(ModalityConfig):
    """Serves `outdated` by contract 0."""

    modality: ClassVar[str] = "outdated"
    expects: ClassVar[str] = "whatever contract 0 expected"
    contract: ClassVar[int] = 0

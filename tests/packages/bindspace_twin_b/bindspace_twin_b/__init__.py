"""One of two packages that claim the name `twin`."""

from dataclasses import dataclass
from typing import ClassVar

from bindspace import ModalityConfig


@dataclass(kw_only=True)
class TwinConfig(ModalityConfig):
    """Serves `twin`."""

    modality: ClassVar[str] = "twin"
    expects: ClassVar[str] = "anything"

"""What a plugin implements, one file each, the registry that finds plugins, and errors for people.

Standard library only, so importing it is cheap. `registry` is used as a module."""

from bindspace.contract.dataset import RESERVED, Augment, Choice, DatasetConfig, Source
from bindspace.contract.errors import AbsentError, PluginError, UserError, unknown
from bindspace.contract.format import FormatConfig
from bindspace.contract.modality import BadSample, Bind, Cell, Head, Lora, ModalityConfig, Size, Tune

__all__ = [
    "RESERVED",
    "AbsentError",
    "Augment",
    "BadSample",
    "Bind",
    "Cell",
    "Choice",
    "DatasetConfig",
    "FormatConfig",
    "Head",
    "Lora",
    "ModalityConfig",
    "PluginError",
    "Size",
    "Source",
    "Tune",
    "UserError",
    "unknown",
]

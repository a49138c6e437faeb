"""The plugin contracts, one file each, the registry of plugins, and errors for users.

Standard library only, so importing it is cheap. `registry` is used as a module."""

from bindspace.contract.callback import CallbackConfig
from bindspace.contract.dataset import RESERVED, Augment, Choice, DatasetConfig, Source
from bindspace.contract.errors import AbsentError, PluginError, UserError, unknown
from bindspace.contract.format import FormatConfig
from bindspace.contract.modality import BadSample, Bind, Cell, Head, Lora, ModalityConfig, Size, Tune
from bindspace.contract.term import TermConfig

__all__ = [
    "RESERVED",
    "AbsentError",
    "Augment",
    "BadSample",
    "Bind",
    "CallbackConfig",
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
    "TermConfig",
    "Tune",
    "UserError",
    "unknown",
]

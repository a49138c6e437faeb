"""Modules that plugins of 0.1 import by their old names, found under the new ones with a warning.

Standard library only. `bindspace new` wrote such imports into packages that are in use. What is imported from
`bindspace` itself never moves.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "bindspace.modality": "bindspace.contract.modality",
    "bindspace.errors": "bindspace.contract.errors",
    "bindspace.registry": "bindspace.contract.registry",
    "bindspace.format_config": "bindspace.contract.format",
    "bindspace.data.dataset_config": "bindspace.contract.dataset",
    "bindspace.picture_config": "bindspace.modules.picture_config",
    "bindspace.towers": "bindspace.modules.trunks",
    "bindspace.timm_trunk": "bindspace.modules.timm_trunk",
    "bindspace.heads": "bindspace.modules.heads",
    "bindspace.pictures": "bindspace.io.pictures",
    "bindspace.sounds": "bindspace.io.sounds",
    "bindspace.sequences": "bindspace.io.sequences",
    "bindspace.fingerprints": "bindspace.io.fingerprints",
    "bindspace.files": "bindspace.io.files",
    "bindspace.progress": "bindspace.io.progress",
}


class MovedModules(MetaPathFinder, Loader):
    """Imports the module of the new name under the old one: it is one module, whichever name is used."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answers for moved modules only; Python asks it last, after the files."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of the new name."""
        new = MOVED[spec.name]
        warnings.warn(f"{spec.name} has moved: import from {new}, or from bindspace", DeprecationWarning, stacklevel=2)
        module = import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run again: the module gets back its own spec, which the import system has just replaced."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state

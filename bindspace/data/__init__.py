"""Data: manifests, reading, batches, pools. Names are imported when used; only `BindData` imports Lightning."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "bad_rows": ["BadRows"],
    "batch": ["BadRow", "Batch"],
    "cached": ["CachedVectors"],
    "dataset": ["TrainBatches", "ValBatches"],
    "dataset_config": ["DatasetConfig"],
    "manifest": ["Manifest", "build_manifest", "check_groups", "split_validation", "write_manifest"],
    "module": ["BindData"],
    "pool": ["Item", "Pool", "load_pool"],
    "reading": ["Column", "Reader", "evaluation_batches", "read_cell"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])

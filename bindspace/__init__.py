"""bindspace: bind any sensor to a pivot by contrastive learning, and measure what emerges between the others.

The public API. Names are imported when they are first used, so `import bindspace` costs nothing.

>>> import bindspace
>>> space = bindspace.load("outputs/quickstart/latest/space")  # doctest: +SKIP
>>> z = space.embed(audio=["bark.flac"], text=["a dog barks"])  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bindspace.benchmark.emergent import run_benchmark as run_benchmark
    from bindspace.benchmark.report import write_report as write_report
    from bindspace.bundle import load as load
    from bindspace.bundle import save as save
    from bindspace.data.dataset_config import DatasetConfig as DatasetConfig
    from bindspace.data.module import BindData as BindData
    from bindspace.data.pool import load_pool as load_pool
    from bindspace.errors import PluginError as PluginError
    from bindspace.errors import UserError as UserError
    from bindspace.format_config import FormatConfig as FormatConfig
    from bindspace.ledger import Ledger as Ledger
    from bindspace.modality import BadSample as BadSample
    from bindspace.modality import Bind as Bind
    from bindspace.modality import Cell as Cell
    from bindspace.modality import Head as Head
    from bindspace.modality import ModalityConfig as ModalityConfig
    from bindspace.modality import Tune as Tune
    from bindspace.settings import Pair as Pair
    from bindspace.settings import Source as Source
    from bindspace.space import Space as Space
    from bindspace.testing import check_modality as check_modality
    from bindspace.training.module import BindModule as BindModule

    __version__: str

_HOMES = {
    "bindspace.benchmark.emergent": ["run_benchmark"],
    "bindspace.benchmark.report": ["write_report"],
    "bindspace.bundle": ["load", "save"],
    "bindspace.data.dataset_config": ["DatasetConfig"],
    "bindspace.data.module": ["BindData"],
    "bindspace.data.pool": ["load_pool"],
    "bindspace.errors": ["PluginError", "UserError"],
    "bindspace.format_config": ["FormatConfig"],
    "bindspace.ledger": ["Ledger"],
    "bindspace.modality": ["BadSample", "Bind", "Cell", "Head", "ModalityConfig", "Tune"],
    "bindspace.settings": ["Pair", "Source"],
    "bindspace.space": ["Space"],
    "bindspace.testing": ["check_modality"],
    "bindspace.training.module": ["BindModule"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bindspace")
    if name not in _HOME:
        raise AttributeError(f"module 'bindspace' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""bindspace: bind any sensor to a pivot by contrastive learning, and measure what emerges between the others.

The public API. Names are imported when they are first used, so `import bindspace` costs nothing.

>>> import bindspace
>>> space = bindspace.load("outputs/quickstart/latest/space")  # doctest: +SKIP
>>> z = space.embed(audio=["bark.flac"], text=["a dog barks"])  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bindspace.moved import MovedModules

if TYPE_CHECKING:
    from bindspace.benchmark.emergent import run_benchmark as run_benchmark
    from bindspace.benchmark.report.report import write_report as write_report
    from bindspace.contract import BadSample as BadSample
    from bindspace.contract import Bind as Bind
    from bindspace.contract import CallbackConfig as CallbackConfig
    from bindspace.contract import Cell as Cell
    from bindspace.contract import DatasetConfig as DatasetConfig
    from bindspace.contract import FormatConfig as FormatConfig
    from bindspace.contract import Head as Head
    from bindspace.contract import Lora as Lora
    from bindspace.contract import ModalityConfig as ModalityConfig
    from bindspace.contract import PluginError as PluginError
    from bindspace.contract import Source as Source
    from bindspace.contract import TermConfig as TermConfig
    from bindspace.contract import Tune as Tune
    from bindspace.contract import UserError as UserError
    from bindspace.data import load_pool as load_pool
    from bindspace.data.module import BindData as BindData
    from bindspace.ledger import Ledger as Ledger
    from bindspace.settings import Pair as Pair
    from bindspace.space import Space as Space
    from bindspace.space import load as load
    from bindspace.space import save as save
    from bindspace.testing import check_modality as check_modality
    from bindspace.training.module import BindModule as BindModule
    from bindspace.training.terms.term import Term as Term

    __version__: str

_HOMES = {
    "bindspace.benchmark.emergent": ["run_benchmark"],
    "bindspace.benchmark.report.report": ["write_report"],
    "bindspace.contract": [
        "BadSample", "Bind", "CallbackConfig", "Cell", "DatasetConfig", "FormatConfig", "Head", "Lora",
        "ModalityConfig", "PluginError", "Source", "TermConfig", "Tune", "UserError",
    ],
    "bindspace.data": ["load_pool"],
    "bindspace.data.module": ["BindData"],
    "bindspace.ledger": ["Ledger"],
    "bindspace.settings": ["Pair"],
    "bindspace.space": ["Space", "load", "save"],
    "bindspace.testing": ["check_modality"],
    "bindspace.training.module": ["BindModule"],
    "bindspace.training.terms.term": ["Term"],
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME]

sys.meta_path.append(MovedModules())


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bindspace")
    if name not in _HOME:
        raise AttributeError(f"module 'bindspace' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

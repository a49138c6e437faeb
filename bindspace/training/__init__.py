"""Training: the LightningModule, its callbacks, and the run. Nothing is imported before it is needed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bindspace.training.module import BindModule as BindModule


def __getattr__(name: str) -> Any:
    if name == "BindModule":
        from bindspace.training.module import BindModule

        return BindModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

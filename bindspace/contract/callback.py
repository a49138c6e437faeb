"""The contract of a callback plugin, version 1: an entry point in `bindspace.callbacks`. Standard library only.

A callback is two classes: its settings, a dataclass that is found by name and composed by Hydra
(`callbacks=[NAME] callbacks.NAME.setting=value`), and the Lightning callback that these settings build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(kw_only=True)
class CallbackConfig:
    """Settings of one callback."""

    contract: ClassVar[int] = 1

    def check(self, run: Any) -> None:
        """Raises `UserError` for settings that do not fit the run (a `TrainRun`), before anything slow happens."""

    def build(self, context: Any) -> Any:
        """The Lightning callback of a stage, None where it has nothing to do there. `context`: a `CallbackContext`."""
        raise NotImplementedError

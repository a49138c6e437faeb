"""Counts the settings of `bindspace train` that the core has: fields of `TrainRun` and of what it holds.

    python benchmarks/count_settings.py

Plugins' settings (modalities, data sets, terms of the loss, callbacks) are not the core's; of the default loss they are
counted beside it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, get_type_hints

from bindspace.settings import TrainRun
from bindspace.training.terms import InfoNceConfig


def leaves(settings: Any, prefix: str = "") -> Iterator[str]:
    """Full names of the fields that hold a value, not further fields."""
    hints = get_type_hints(settings)
    for item in dataclasses.fields(settings):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from leaves(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}"


if __name__ == "__main__":
    core = list(leaves(TrainRun))
    print(*core, sep="\n")
    print(json.dumps({"settings_of_the_core": len(core), "of_the_default_loss": len(list(leaves(InfoNceConfig)))}))

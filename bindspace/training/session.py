"""What the stages of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bindspace.data import BadRows, Manifest
from bindspace.settings import TrainRun
from bindspace.space import Space
from bindspace.training.stages import Stage


@dataclass
class Manifests:
    """The manifests of a run."""

    train: list[Manifest]
    val: list[Manifest]


@dataclass
class Session:
    """What the stages of a run share."""

    run: TrainRun
    folder: Path
    space: Space
    events: Manifests
    bad: BadRows
    kept: set[str] = field(default_factory=set)  # modalities of the space that the run extends
    stages: list[Stage] = field(default_factory=list)
    rebuilt: dict[str, str] = field(default_factory=dict)  # hashes of what was read from files and is never trained
    throughput: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """Where embeddings of frozen towers are cached: in the run's own folder unless another is named."""
        return self.folder / "cache" if self.run.trainer.cache is None else Path(self.run.trainer.cache)


@dataclass
class CallbackContext:
    """What a callback plugin is built from, at the start of a stage.

    `trained`: modalities of the stage that are not frozen. `references(name, count)`: reference vectors.
    """

    run: TrainRun
    space: Space
    folder: Path
    stage: Stage
    trained: list[str]
    references: Callable[[str, int], Any]

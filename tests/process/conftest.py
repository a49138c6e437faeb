"""What the tests that start processes share: a small world as files, and the settings of a short run."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import bindspace, build_wheel

QUICK = [
    "data=manifest",
    "modality=[image,text,audio]",
    "stages=[{name: pivot, steps: 8, pairs: [image-text]},{name: bind, steps: 8, pairs: [rest], freeze: [done]}]",
    "data.batch=12",
    "data.workers=0",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.precision=float32",
    "logger=csv",
]


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Two training sources of disjoint events, and a test pool: `it`, `ia` and `test`, each with its manifest."""
    root = tmp_path_factory.mktemp("world")
    for name, seed, events, held in [
        ("it", 1, 48, "[image,text]"),
        ("ia", 2, 48, "[image,audio]"),
        ("test", 3, 24, "[image,text,audio]"),
    ]:
        bindspace("world", f"out={name}", f"events={events}", f"seed={seed}", f"modalities={held}", cwd=root)
    return root


@pytest.fixture(scope="session")
def sources(world: Path) -> list[str]:
    """The overrides that train on it and measure at the end."""
    train = f"[{{path: {world / 'it'}}},{{path: {world / 'ia'}}}]"
    return [*QUICK, f"data.train={train}", f"data.test=[{{path: {world / 'test'}}}]"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    return build_wheel(Path(__file__).parents[2], tmp_path_factory.mktemp("dist"))

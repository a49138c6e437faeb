"""The commands of docs/extend-a-space.md, on a small world and with the stranger's package for touch."""

from __future__ import annotations

import json
import re
import shlex
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest
from installing import write_distribution

from bindspace.cli import main
from bindspace.contract import registry
from bindspace.space.bundle import load

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extend-a-space.md"
SMALL = [f"data.dataset.{name}" for name in ("train_events=48", "val_events=12", "test_events=24", "workers=1")] + [
    "stages=[{name: all, steps: 8}]", "data.batch=12", "data.workers=0", "trainer.threads=1", "trainer.accelerator=cpu",
    "trainer.precision=float32", "logger=csv", "benchmark.permutations=50",
]  # fmt: skip


@pytest.fixture
def tactile(tmp_path, monkeypatch):
    """The package of tests/packages, as if it were installed."""
    write_distribution(tmp_path / "site", "bindspace-tactile", "0.1.0", tactile="bindspace_tactile:TactileConfig")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "packages" / "bindspace_tactile"))
    monkeypatch.chdir(tmp_path)
    registry.installed.cache_clear()
    invalidate_caches()
    yield
    sys.modules.pop("bindspace_tactile", None)
    registry.installed.cache_clear()


def test_the_commands_of_the_page_run_and_the_old_space_is_kept(tactile):
    block = re.search(r"^```\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    commands = [shlex.split(line) for line in block[1].splitlines()]
    assert [command[:2] for command in commands] == [["bindspace", "train"]] * 2
    for command in commands:
        assert main([*command[1:], *SMALL]) == 0
    old, new = load("runs/base/space"), load("runs/touch/space")
    assert new.modalities == ["image", "text", "tactile"]
    state = new.state_dict()
    assert all(bool((tensor == state[name]).all()) for name, tensor in old.state_dict().items())
    assert new.ledger.trained_pairs() == [("image", "tactile"), ("image", "text")]
    report = json.loads(Path("runs/touch/benchmark/report.json").read_text())
    status = {(cell["query"], cell["gallery"]): cell["status"] for cell in report["pairs"]}
    assert status["tactile", "text"] == status["text", "tactile"] == "emergent"
    assert status["image", "tactile"] == "trained"
    for pool in (report, report["pools"]["held_out"]):
        assert [(row["query"], row["gallery"]) for row in pool["retention"]] == [("image", "text"), ("text", "image")]
        assert all(row["equal"] and row["before"] == row["after"] for row in pool["retention"])

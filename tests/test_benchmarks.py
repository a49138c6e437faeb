"""The harness of benchmarks/: what it makes of a benchmark's output, and how it measures memory."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from bindspace.settings import TrainRun

ROOT = Path(__file__).parents[1]


@pytest.fixture
def harness(monkeypatch):
    """benchmarks/measure.py and benchmarks/run_all.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("measure"), importlib.import_module("run_all")
    for name in ("measure", "run_all"):
        sys.modules.pop(name, None)


def test_rounds_are_interleaved_and_the_first_is_left_out(harness):
    measure, _ = harness
    called: list[str] = []
    rounds = measure.interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=2)
    assert called == ["a", "b"] * 3
    assert [len(seconds) for seconds in rounds.seconds.values()] == [2, 2]
    assert measure.Rounds({"a": [1.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]}).ratio("a", "b") == 2.0


def test_each_shape_of_line_becomes_a_table_and_a_failure_is_named(harness):
    _, run_all = harness
    printed = ['{"machine": {}}', '{"case": "x", "ms": 1.5}', "a warning", '{"case": "y", "ms": 2.0}', '{"mb": 3}']
    lines = [line for text in printed for line in run_all.parsed(text)]
    text = run_all.section("name", lines, "ended with exit code 3", 12.4)
    assert "**ended with exit code 3**" in text
    assert "| case | ms |\n| --- | --- |\n| x | 1.5 |\n| y | 2.0 |\n\n| mb |\n| --- |\n| 3 |\n" in text
    assert "`python benchmarks/name.py` took 12 s." in text


def test_a_benchmark_that_fails_or_takes_too_long_is_told(harness, tmp_path, monkeypatch):
    _, run_all = harness
    (tmp_path / "fails.py").write_text("import sys; print('{\"case\": 1}'); sys.exit(3)")
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    lines, problem, _ = run_all.run("fails", 60.0)
    assert (lines, problem) == ([{"case": 1}], "ended with exit code 3")
    assert "15 minutes" in run_all.run("sleeps", 0.1)[1]


def test_an_unknown_benchmark_is_named(harness, capsys):
    _, run_all = harness
    assert run_all.main(["grad_cach"]) == 2
    assert "grad_cache" in capsys.readouterr().err


def hold(size: int):
    """A call that holds so many bytes for a moment."""
    return lambda: bytes(bytearray(size))


@pytest.mark.process
def test_peak_memory_is_that_of_the_call(harness):
    measure, _ = harness
    sys.modules.setdefault("test_benchmarks", sys.modules[__name__])
    assert 190 < measure.peak_mb(hold, 100 * measure.MB) < 230  # the array and its copy


def test_the_core_has_no_more_settings_than_this(monkeypatch):
    """A further setting of the core names the one that goes for it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    core = list(importlib.import_module("count_settings").leaves(TrainRun))
    sys.modules.pop("count_settings")
    assert {"data.batch", "optim.lr", "loss", "callbacks"} <= set(core)
    assert len(core) <= 66

"""What the tests of the command line share."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from bindspace.cli import main


@dataclass
class Outcome:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys):
    """Runs a command in this process: `call("train", "seed=3")`."""

    def run(*arguments: str) -> Outcome:
        code = main(list(arguments))
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run


@pytest.fixture
def refused(call):
    """Runs a command that must be refused, and returns its one sentence."""

    def run(*arguments: str) -> str:
        outcome = call(*arguments)
        assert outcome.code == 2, outcome
        assert "Traceback" not in outcome.err
        assert outcome.err.count("\n") == 1, outcome.err
        assert outcome.err.startswith("bindspace: ")
        return outcome.err.removeprefix("bindspace: ").strip()

    return run


@pytest.fixture(autouse=True)
def training(monkeypatch):
    """Takes the place of training, which would import Lightning: keeps what it was called with."""

    def keep(name):
        def called(run, pairs, folder):
            calls.append((name, run, folder, list(sys.argv)))

        return called

    calls: list[tuple] = []
    stand_in = SimpleNamespace(train=keep("train"), resume=keep("resume"))
    monkeypatch.setitem(sys.modules, "bindspace.training.run", stand_in)
    monkeypatch.setitem(sys.modules, "bindspace.cli.measuring", SimpleNamespace(measure=lambda *_: None))
    return calls

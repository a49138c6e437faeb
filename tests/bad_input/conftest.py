"""What these tests share: files, manifests, a space, and commands that must be refused in one sentence.

All goes through the verbs, with the plugins and the training that people use, within this process.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bad_files import MODALITIES, good_events, write_files

from bindspace.cli import main

QUICK = [
    "data=manifest",
    "modality=[image,text]",
    "stages=[{name: first, steps: 1},{name: second, steps: 1}]",
    "data.val_fraction=0",
    "data.batch=64",
    "data.workers=0",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.precision=float32",
    "trainer.progress=false",
    "benchmark.permutations=20",
    "logger=csv",
]


@pytest.fixture(scope="session")
def events(tmp_path_factory) -> Path:
    """The folder of all files, good and bad."""
    folder = tmp_path_factory.mktemp("events")
    write_files(folder)
    return folder


@pytest.fixture(scope="session")
def space(tmp_path_factory) -> Path:
    """The folder of an untrained space of five modalities."""
    from bindspace.contract import registry
    from bindspace.ledger.ledger import Ledger
    from bindspace.space.bundle import save
    from bindspace.space.space import Space

    space = Space({name: registry.load(name)() for name in MODALITIES}, dim=16, pivot="image")
    space.ledger = Ledger.new(dict.fromkeys(MODALITIES, "random"))
    return save(space.eval(), tmp_path_factory.mktemp("untrained") / "space")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The empty folder that the test runs in, as the only rank."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return place


@pytest.fixture
def source(events, tmp_path):
    """Writes a manifest, and returns it as an item of `data.train` or `data.test`."""

    def write(rows: list[dict[str, str]], name: str = "manifest.jsonl") -> str:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return f"{{path: '{tmp_path / name}', root: '{events}'}}"

    return write


@pytest.fixture
def train(source) -> list[str]:
    """The command that trains two modalities on the good events."""
    return ["train", *QUICK, f"data.train=[{source(good_events(), 'good.jsonl')}]"]


@pytest.fixture
def refused(capsys):
    """Runs a command that must be refused, and returns its one sentence."""

    def run(*arguments: str) -> str:
        code = main(list(arguments))
        said = capsys.readouterr().err
        assert code == 2, said
        assert said.startswith("bindspace: ")
        assert said.count("\n") == 1, said
        assert "Traceback" not in said
        return said.removeprefix("bindspace: ").strip()

    return run


@pytest.fixture
def fine(capsys):
    """Runs a command that must go well, and returns what it said on stderr."""

    def run(*arguments: str) -> str:
        code = main(list(arguments))
        said = capsys.readouterr().err
        assert code == 0, said
        return said

    return run


@pytest.fixture
def contents():
    """Every file below a folder, hidden ones too, with its bytes."""

    def read(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read

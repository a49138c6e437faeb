"""Space folders that are damaged, or were written to do harm: one sentence from each verb that opens one."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest


def settings(**values):
    """Changes what `space.json` says of the settings of one modality."""
    return lambda value: value["modalities"]["text"]["settings"].update(values)


EDITS = {
    "a class to build": (settings(_target_="os.system"), r"unknown setting '_target_'"),
    "an interpolation": (settings(weights="${oc.env:HOME}"), r"weights: .*never followed"),
    "a file to load": (settings(weights="evil.pt"), r"weights: expected null, since weights are in model.safetensors"),
    "an absurd width": (settings(width=2**30), r"its settings build no towers \(OverBudget"),
    "another width": (settings(width=24), r"the two do not match"),
    "a wrong type": (settings(width="wide"), r"width: expected a whole number, got 'wide'"),
    "a plugin that is not installed": (
        lambda value: value["modalities"]["text"].update(implementation="sonar"),
        r"needs the plugin 'sonar' .* which is not installed: install it, or load other modalities",
    ),
    "a module for a plugin": (
        lambda value: value["modalities"]["text"].update(implementation="os:system"),
        r"expected a name of lower-case letters",
    ),
    "a schema of the future": (
        lambda value: value.update(schema=2),
        r"supports schema 1: use the version that wrote it",
    ),
}
TEXTS = {
    "empty": b"",
    "cut off": b'{"schema": 1, "modal',
    "no text": b"\xff\xfe\x00",
    "nested without end": b'{"modalities":' + b"[" * 500_000,
    "larger than any": b" " * (5 << 20),
}


@pytest.fixture
def folder(space, place) -> Path:
    """A copy of the space, to be spoilt."""
    return shutil.copytree(space, place / "space")


@pytest.fixture
def refused_by_all(refused, train, place):
    """Asks each verb that opens a space; returns what they all say."""

    def ask() -> str:
        source = train[-1].partition("=")[2]
        said = {
            refused("benchmark", "space=space", f"data.test={source}", "out=report"),
            refused("embed", "space=space", "text=[a thing]", "out=z.npz"),
            refused("embed", "space=space", f"data={source.split(chr(39))[1]}", "modality=text", "out=z.npz"),
        }
        assert [path.name for path in place.iterdir()] == ["space"]
        assert len(said) == 1, said
        return said.pop()

    return ask


@pytest.mark.parametrize("name", EDITS)
def test_a_hostile_space_is_refused_by_every_verb(refused_by_all, folder, name):
    change, sentence = EDITS[name]
    value = json.loads((folder / "space.json").read_text())
    change(value)
    (folder / "space.json").write_text(json.dumps(value))
    said = refused_by_all()
    assert re.search(sentence, said)
    assert "space/" in said  # the file at fault


@pytest.mark.parametrize("name", TEXTS)
def test_a_damaged_space_is_refused_by_every_verb(refused_by_all, folder, name):
    (folder / "space.json").write_bytes(TEXTS[name])
    said = refused_by_all()
    assert "space/space.json is damaged" in said
    assert said.endswith("copy the whole space folder again")


def test_damaged_weights_are_refused_by_every_verb(refused_by_all, folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert re.search(r"space/model.safetensors is damaged .*: copy the whole space folder again", refused_by_all())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes on this system")
def test_a_pipe_in_the_place_of_the_file_does_not_hang(refused_by_all, folder):
    (folder / "space.json").unlink()
    os.mkfifo(folder / "space.json")
    assert refused_by_all() == "space=space holds no space.json: give the `space` folder of a run"


def test_a_space_that_is_not_there_is_named_with_what_to_give(refused_by_all, place):
    (place / "space").mkdir()
    assert refused_by_all() == "space=space holds no space.json: give the `space` folder of a run"

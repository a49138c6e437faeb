"""Run folders that are in the way, read-only or full, and checkpoints that are not theirs: nothing looks finished."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from bindspace.cli import main
from bindspace.io import files
from bindspace.space import bundle

# --- a run folder that cannot be written


def test_a_run_folder_below_a_file_is_refused(refused, train, space, place):
    (place / "file").write_text("mine")
    assert re.search(r"cannot make the run folder .*: choose another with out=", refused(*train, "out=file/run"))
    measured = ["benchmark", f"space={space}", f"data.test={train[-1].partition('=')[2]}", "out=file/report"]
    assert (
        refused(*measured) == f"cannot write into file/report: {place}/file is not a folder: choose another with out="
    )
    assert refused("embed", f"space={space}", "text=[a]", "out=file/z.npz").startswith("cannot write into file: ")
    assert [path.name for path in place.iterdir()] == ["file"]


def test_a_read_only_folder_is_refused_before_anything_is_done(refused, fine, train, space, place, monkeypatch):
    (place / "mine").mkdir()
    fine(*train, "out=old")
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK))  # tests may run as root, who may all
    assert refused(*train, "out=mine") == f"the run folder {place}/mine is read-only: choose another with out="
    assert refused("train", "run=old").endswith("old is read-only: choose another with out=")
    assert refused("embed", f"space={space}", "text=[a]", "out=mine/z.npz").startswith("cannot write into mine: ")
    assert {path.name for path in place.iterdir()} == {"mine", "old"}
    assert list((place / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["checkpoints", "space", "tensorboard", "environment.json/", "metrics.csv/"])
def test_something_in_the_place_of_a_file_or_folder_is_named(refused, train, place, name):
    path = place / "mine" / name
    path.parent.mkdir()
    path.mkdir() if name.endswith("/") else path.write_text("mine")
    said = refused(*train, "logger=tensorboard", "out=mine")
    assert f"{place}/mine/{name.rstrip('/')}" in said
    assert "choose another folder" in said
    assert not (place / "mine" / "space" / "space.json").exists()
    assert not list(place.rglob(".*"))


def fill_up(monkeypatch, name: str) -> None:
    """From now on the disk is full when a file of this name is written."""
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        if f".{name}.tmp-" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)


def full(tensors, path) -> None:
    """What safetensors does when the disk is full."""
    Path(path).write_bytes(b"\0" * 100)
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.csv"])
def test_a_disk_that_is_full_at_the_start_leaves_no_run(refused, train, place, monkeypatch, name):
    fill_up(monkeypatch, name)
    for out in (["out=mine"], []):
        assert re.search(rf"cannot write .*/{name}: No space left on device: .*make room", refused(*train, *out))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["last.ckpt", "model.safetensors", "space.json", "ledger.media", "ledger.json", "README.md"]
)
def test_a_run_on_a_full_disk_has_no_space_and_goes_on_when_there_is_room(
    refused, fine, train, place, monkeypatch, name
):
    with monkeypatch.context() as patch:
        fill_up(patch, name)
        if name == "model.safetensors":
            patch.setattr(bundle, "save_file", full)
        said = refused(*train, "out=mine")
        assert re.search(rf"cannot write .*{name}: .*No space left on device.*make room", said)
    mine = place / "mine"
    assert not (mine / "space").exists()
    assert not list(mine.rglob(".*"))
    fine("train", "run=mine")
    assert bundle.load(mine / "space").modalities == ["image", "text"]


@pytest.mark.parametrize("name", ["matrix.png", "report.md", "report.json"])
def test_a_report_on_a_full_disk_is_not_there_at_all(capsys, space, train, place, monkeypatch, name):
    fill_up(monkeypatch, name)
    source = train[-1].partition("=")[2]
    assert main(["benchmark", f"space={space}", f"data.test={source}", "benchmark.permutations=20", "out=report"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]  # before it, progress
    assert said == f"bindspace: cannot write report/{name}: No space left on device: choose another folder or make room"
    assert [path for path in place.rglob("*") if path.is_file()] == []


# --- a checkpoint that is not of this run


@pytest.fixture
def run(fine, train, place) -> Path:
    """A run that has ended, whose checkpoint is there."""
    fine(*train, "out=mine")
    return place / "mine"


def test_a_checkpoint_of_another_width_is_named_with_both_shapes(refused, fine, train, run, place, contents):
    fine(*train, "out=wide", "modality.text.width=24")
    shutil.copy(place / "wide" / "checkpoints" / "last.ckpt", run / "checkpoints")
    before = contents(run)
    said = refused("train", "run=mine")
    assert f"{run}/checkpoints/last.ckpt does not belong to this run: expected towers.text." in said
    assert re.search(r"of shape \(256,.*\) as config.yaml says, got \(24,.*\): put the right file there", said)
    assert said.endswith("put the right file there, or start anew with out=...")
    assert contents(run) == before


def test_a_checkpoint_of_other_modalities_is_named_with_the_first_tensor(refused, fine, train, run, place, contents):
    fine(*train, "out=other", "modality=[image,depth]")
    shutil.copy(place / "other" / "checkpoints" / "last.ckpt", run / "checkpoints")
    before = contents(run)
    said = refused("train", "run=mine")
    assert "does not belong to this run: it has a tensor temperatures.image-depth" in said
    assert contents(run) == before


def test_what_a_killed_run_left_of_a_checkpoint_is_swept_up(fine, train, run):
    left = run / "checkpoints" / ".last.ckpt.tmp-4242"
    left.write_bytes(b"half of a checkpoint")
    fine("train", "run=mine", "stages.1.steps=2")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("evil"),)


def cut(path: Path) -> None:
    """Keeps the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(**values):
    """Changes what a checkpoint holds."""

    def write(path: Path) -> None:
        torch.save({**torch.load(path, weights_only=True), **values}, path)

    return write


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), "is damaged, or no checkpoint of bindspace"),
    "text": (lambda path: path.write_text("hello"), "is damaged, or no checkpoint of bindspace"),
    "cut off": (cut, "is damaged, or no checkpoint of bindspace"),
    "code": (lambda path: torch.save({"state_dict": Evil()}, path), "is damaged, or no checkpoint of bindspace"),
    "of another library": (lambda path: torch.save({"weight": torch.ones(3)}, path), "is damaged, or no checkpoint"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is damaged, or no checkpoint of bindspace"),
    "a stage too many": (change(stage=7), "last.ckpt is of stage 8, and this run has 2"),
    "a spoilt ledger": (change(ledger={"record": 3}), "is damaged, or no checkpoint of bindspace"),
    "no tensors": (change(state_dict={}), "does not belong to this run: it has no tensor"),
    "numbers for tensors": (change(state_dict=3), "is damaged, or no checkpoint of bindspace"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_no_checkpoint_is_refused_and_runs_no_code(refused, run, place, contents, name):
    damage, sentence = DAMAGE[name]
    damage(run / "checkpoints" / "last.ckpt")
    before = contents(run)
    said = refused("train", "run=mine")
    assert sentence in said
    assert said.endswith("put the right file there, or start anew with out=...")
    assert contents(run) == before
    assert [path.name for path in place.iterdir()] == ["mine"]

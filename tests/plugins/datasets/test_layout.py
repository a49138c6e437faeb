"""What the adapters share: sources of a run, manifests that follow what is there, and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from owners_sounds import clotho, esc50, vggsound

from bindspace.cli import main
from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace.data import Manifest
from bindspace_datasets.clotho import ClothoConfig
from bindspace_datasets.esc50 import Esc50Config
from bindspace_datasets.layout import clip_in, files_by_stem
from bindspace_datasets.vggsound import VggsoundConfig

PAGE = Path(__file__).parents[3] / "docs" / "real-data.md"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs in an empty folder."""
    monkeypatch.chdir(tmp_path)


def first_row(config):
    """The first row of the manifest that a benchmark would read."""
    return json.loads(Path(config.sources([], [])["test"][0].path).read_text().splitlines()[0])


def test_a_split_that_the_owner_does_not_have_is_unknown(tmp_path):
    with pytest.raises(UserError, match=r"unknown split of Clotho 'tests': did you mean 'test'\? \(available: test"):
        list(ClothoConfig(folder=str(clotho(tmp_path))).rows("tests"))


def test_a_set_for_evaluation_is_not_trained_on(tmp_path):
    with pytest.raises(UserError, match="ESC-50 is read for evaluation only: train on another data set"):
        Esc50Config(folder=str(esc50(tmp_path))).sources([("image", "audio")], ["image", "audio"])


def test_training_reads_the_owners_train_split_from_the_owners_folder(tmp_path):
    folder = vggsound(tmp_path / "theirs")
    (folder / "test" / "people_marching" / "---g-f_I2yQ_000001.wav").rename(folder / "--0PQM4-hqg.wav")
    sources = VggsoundConfig(folder="theirs").sources([("image", "audio")], ["image", "audio"])
    assert [len(sources[split]) for split in ("train", "val", "test")] == [1, 0, 1]
    train = Manifest.load(sources["train"][0], ["audio"])
    assert [row["label"] for row in train.rows] == ["waterfall burbling"]
    assert train.root == folder
    assert (train.root / train.rows[0]["audio"]).is_file()


def test_a_file_that_came_later_is_seen_the_next_time(tmp_path):
    folder = esc50(tmp_path / "theirs")
    clip = folder / "audio" / "1-100032-A-0.wav"
    content = clip.read_bytes()
    clip.unlink()
    config = Esc50Config(folder="theirs")
    assert "audio" not in first_row(config)
    clip.write_bytes(content)
    assert first_row(config)["audio"] == "audio/1-100032-A-0.wav"


def test_other_settings_and_other_folders_are_other_manifests(tmp_path):
    esc50(tmp_path / "one"), esc50(tmp_path / "other")
    configs = [Esc50Config(folder="one"), Esc50Config(folder="other"), Esc50Config(folder="one", folds=[1])]
    paths = {config.sources([], [])["test"][0].path for config in configs}
    assert len(paths) == 3
    assert Esc50Config(folder=str(tmp_path / "one")).sources([], [])["test"][0].path in paths


def test_of_equal_stems_the_first_path_counts(tmp_path):
    for name in ("b/x.wav", "a/x.FLAC", "a/y.txt", "z.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert files_by_stem(tmp_path, (".wav", ".flac")) == {"x": "a/x.FLAC", "z": "z.wav"}


def test_a_name_that_says_the_moment_goes_before_one_that_does_not():
    found = {"abc": "whole.wav", "abc_000030": "clip.wav"}
    assert clip_in(found, "abc", 30.0) == "clip.wav"
    assert clip_in(found, "abc", 40.0) == "whole.wav"
    assert clip_in(found, "abd", 30.0) is None


def test_the_sentence_of_the_page_is_the_one_that_comes(tmp_path, capsys):
    shown = re.search(r"\nbindspace: (ESC-50: .*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    assert main(["esc50", f"folder={tmp_path}", "out=out"]) == 2
    said = " ".join(shown[1].split()).replace("/data/esc50", str(tmp_path))
    assert capsys.readouterr().err == f"bindspace: {said}\n"


def test_the_pages_tell_of_every_data_set():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGE.parent.glob("real-data*.md"))
    owners = registry.installed(registry.DATASETS)
    names = [name for name in owners if owners[name][0].value.startswith("bindspace_datasets.")]
    assert len(names) >= 13
    assert [name for name in names if f"| `{name}` |" not in text] == []

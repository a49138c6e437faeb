"""The files of the simulated world: read by ordinary decoders, equal however they were written, whole or not there."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace_world import MODALITIES, WorldConfig, writing
from bindspace_world.attributes import draw_events
from bindspace_world.pool import new_folder
from bindspace_world.writing import render

STAR = [("image", other) for other in MODALITIES[1:]]


def small(root: Path, **settings) -> WorldConfig:
    few = {"train_events": 8, "pair_events": {"depth": 5}, "val_events": 6, "test_events": 7, "workers": 1}
    return WorldConfig(root=str(root), **{**few, **settings})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def read_rows(manifest: str | Path) -> list[dict]:
    return [json.loads(line) for line in Path(manifest).read_text().splitlines()]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Ten events of all modalities."""
    return WorldConfig(events=10, seed=7, workers=1).write(tmp_path_factory.mktemp("world") / "ten").parent


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    return small(root).sources(STAR, MODALITIES)


# --- one folder


def test_rows_hold_the_columns_that_were_asked_for(written):
    rows = read_rows(written / "manifest.jsonl")
    assert len(rows) == 10
    assert set(MODALITIES) <= set(rows[0])
    assert (rows[0]["depth.unit"], rows[0]["thermal.unit"], rows[0]["imu.rate"]) == ("mm", "centikelvin", 100)
    assert all(row["group"] == row["id"] and row["concept"] in range(10) for row in rows)
    assert len({row["id"] for row in rows}) == 10


def test_ordinary_decoders_read_what_was_rendered(written):
    events = draw_events(7, np.arange(10), "seen")
    rows = read_rows(written / "manifest.jsonl")
    decoders = {
        "image": pixels,
        "audio": lambda path: soundfile.read(path, dtype="int16")[0],
        "depth": lambda path: pixels(path).astype(np.uint16),
        "thermal": lambda path: pixels(path).astype(np.uint16),
        "imu": np.load,
    }
    for name, decode in decoders.items():
        decoded = np.stack([decode(written / row[name]) for row in rows])
        if name == "image":  # JPEG at quality 95
            assert np.abs(decoded.astype(int) - render(name, events)).mean() < 3
        else:
            np.testing.assert_array_equal(decoded, render(name, events))
    assert soundfile.info(written / rows[0]["audio"]).samplerate == 16000
    with Image.open(written / rows[0]["depth"]) as image:
        assert image.mode.startswith("I")


@pytest.mark.parametrize("name", MODALITIES)
def test_the_plugins_of_bindspace_read_the_files(written, name):
    row = read_rows(written / "manifest.jsonl")[0]
    config = registry.load(name)()
    info = {key.partition(".")[2]: value for key, value in row.items() if key.startswith(f"{name}.")}
    assert config.read(row[name] if name == "text" else written / row[name], info) is not None


def test_the_units_are_those_of_the_real_world(written):
    row = read_rows(written / "manifest.jsonl")[0]
    depth = pixels(written / row["depth"]).astype(float) / 1000
    kelvin = pixels(written / row["thermal"]).astype(float) / 100
    assert 1 < np.median(depth) < 5
    assert 260 < kelvin.min() <= kelvin.max() < 345


def test_fewer_events_and_modalities_change_no_file_that_remains(written, tmp_path):
    out = WorldConfig(events=4, seed=7, modalities=["thermal", "image"], workers=1).write(tmp_path / "few").parent
    few, all_of_them = digests(out), digests(written)
    files = {name for name in few if name != "manifest.jsonl"}
    assert len(files) == 8
    assert all(few[name] == all_of_them[name] for name in files)


def test_two_workers_write_the_same_bytes_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 4)
    config = {"events": 10, "seed": 3, "modalities": ["image", "text", "imu"]}
    one = WorldConfig(**config, workers=1).write(tmp_path / "one").parent
    two = WorldConfig(**config, workers=2).write(tmp_path / "two").parent
    assert digests(one) == digests(two)


def test_the_size_of_a_chunk_changes_no_byte(written, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 3)
    out = WorldConfig(events=10, seed=7, workers=1).write(tmp_path / "chunks").parent
    assert digests(out) == digests(written)


def test_several_captions_are_a_list_and_one_is_a_string(tmp_path):
    rows = [
        read_rows(WorldConfig(events=2, modalities=["text"], captions=count).write(tmp_path / str(count)))
        for count in (1, 6)
    ]
    assert rows[0][0]["text"] == rows[1][0]["text"][0]
    assert len(rows[1][0]["text"]) == 6


# --- a run's sources


def test_each_pair_has_a_source_that_shows_only_its_two_modalities(sources):
    assert [source.modalities for source in sources["train"]] == [list(pair) for pair in STAR]
    for source, (one, other) in zip(sources["train"], STAR):
        rows = read_rows(source.path)
        assert set(MODALITIES) & set(rows[0]) == {one, other}
        assert len(rows) == (5 if other == "depth" else 8)


def test_no_event_is_in_two_sources(sources):
    ids = [row["id"] for split in sources.values() for source in split for row in read_rows(source.path)]
    assert len(ids) == len(set(ids))
    images = [
        hashlib.sha256((Path(source.path).parent / row["image"]).read_bytes()).hexdigest()
        for split in sources.values()
        for source in split
        for row in read_rows(source.path)
    ]
    assert len(images) == len(set(images))


def test_training_and_validation_hold_seen_combinations_and_only_the_second_test_pool_the_others(sources):
    held_out = {
        (row["shape"], row["material"])
        for row in WorldConfig(events=300, combinations="held_out").rows("test")
        if row["id"].startswith(str(WorldConfig()._seed("test held_out")))
    }
    assert len(held_out) == 6
    for split in ("train", "val", "test"):
        for source in sources[split]:
            found = {(row["shape"], row["material"]) for row in read_rows(source.path)}
            assert found <= held_out if source.pool == "held_out" else found.isdisjoint(held_out)
    assert [source.pool for source in sources["test"]] == ["main", "held_out"]


def test_seeds_that_a_person_types_never_meet_those_of_a_runs_sources():
    config = WorldConfig()
    assert min(config._seed(purpose) for purpose in ("val", "test seen", "train image-text")) >= 1 << 48


def test_complete_sources_are_written_once(tmp_path):
    config = small(tmp_path)
    first = config.sources([("image", "text")], ["image", "text"])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert config.sources([("text", "image")], ["text", "image"]) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_other_settings_get_folders_of_their_own(tmp_path):
    given = [{}, {"seed": 8}, {"train_events": 9}, {"train_captions": 2}]
    paths = [small(tmp_path, **settings).sources([("image", "text")], ["text"])["train"][0].path for settings in given]
    assert len(set(paths)) == len(given)


def test_the_rows_of_a_split_are_those_that_are_written(tmp_path):
    config = small(tmp_path, modalities=["image", "text"])
    written = config.sources([("image", "text")], ["image", "text"])
    for split in ("train", "val", "test"):
        folders = [Path(source.path).parent for source in written[split]]
        on_disk = [(folder.name, row) for folder in folders for row in read_rows(folder / "manifest.jsonl")]
        expected = [{**row, "image": f"{folder}/{row['image']}"} for folder, row in on_disk]
        assert list(config.rows(split)) == expected
    with pytest.raises(UserError, match="unknown split 'tset': did you mean 'test'"):
        next(config.rows("tset"))


# --- whole or not there


def test_a_folder_with_something_in_it_is_never_written_into(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        WorldConfig(events=2, modalities=["text"]).write(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert WorldConfig(events=2, modalities=["text"]).write(tmp_path / "empty").is_file()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_the_middle_leaves_nothing(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(writing, "CHUNK", 2)
    calls = []

    def fail_late(path: Path, data: bytes) -> None:
        calls.append(path)
        if path.name == "manifest.jsonl":
            raise UserError("the disk is full")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr(writing, "_write", fail_late)
    with pytest.raises(UserError, match="the disk is full"):
        WorldConfig(events=6, modalities=["imu"], workers=workers).write(tmp_path / "out")
    assert calls
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write .*/file/out: Not a directory"):
        WorldConfig(events=2, modalities=["text"]).write(tmp_path / "file" / "out")


def test_what_killed_writers_left_is_swept_up_and_what_live_ones_write_is_not(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".out.new-{gone.pid}").mkdir()
    (tmp_path / f".out.new-{os.getppid()}").mkdir()
    with new_folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".out.new-{os.getppid()}", "out"]


def test_of_two_writers_of_one_folder_the_first_wins(tmp_path):
    with new_folder(tmp_path / "out") as slow:
        (slow / "mine").write_text("late")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "manifest.jsonl").write_text("early")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.jsonl"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.process
def test_a_killed_writer_leaves_no_folder_of_that_name_and_no_process(tmp_path):
    code = (
        "from pathlib import Path; from bindspace_world import WorldConfig\n"
        "if __name__ == '__main__':\n"
        "    WorldConfig(events=4000, modalities=['image'], workers=2).write(Path('out'))"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    writer = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.new-*/image/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{writer.pid}/task/{writer.pid}/children").read_text().split()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not (tmp_path / "out").exists()
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]

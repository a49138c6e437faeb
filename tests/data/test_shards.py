"""Shards: the same events, batches and digests as from files; whole or nothing; readable by other tools."""

from __future__ import annotations

import gc
import hashlib
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bindspace import BadSample, Pair, Source
from bindspace.contract.errors import UserError
from bindspace.data import Column, Manifest, Reader, TrainBatches, load_pool
from bindspace.data.shard_index import index_tars
from bindspace.data.shard_writing import write_shards
from bindspace.data.shards import Shards
from bindspace.data.tables import write_manifest
from bindspace_audio import AudioConfig
from bindspace_image import ImageConfig
from bindspace_text import TextConfig

CONFIGS = {"image": ImageConfig(), "audio": AudioConfig(clip_seconds=0.5), "text": TextConfig()}
PAIRS = [Pair(["image", "audio"]), Pair(["image", "text"])]
EVENTS = 14


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Events with missing sides, alternatives, fragments of shared recordings, info, and a bad picture."""
    root = tmp_path_factory.mktemp("files")
    rng, rows = np.random.default_rng(0), []
    for i in range(EVENTS):
        picture, sound = CONFIGS["image"].example(rng, i % 10)[0], CONFIGS["audio"].example(rng, i % 10)[0]
        (root / f"{i}.png").write_bytes(picture if i != 5 else b"no picture")
        (root / f"r {i}.wav").write_bytes(sound)
        row = {"id": f"e.{i}", "image": f"{i}.png", "text": [f"a ball {i}", "ü"], "label": i % 3, "audio.rate": 16000}
        row["audio"] = [f"r {i}.wav", f"./r {i // 2}.wav#t=0.1,0.6"] if i % 2 else f"r {i // 2}.wav#t=,0.5"
        rows.append({name: value for name, value in row.items() if (name, i) not in (("audio", 3), ("text", 4))})
    write_manifest(rows, root / "manifest.jsonl")
    return root


@pytest.fixture
def shards(files, tmp_path) -> Path:
    """The same as several shards."""
    write_shards(files, tmp_path / "shards", size_mib=0.1, shown=False)
    assert len(list((tmp_path / "shards").glob("*.tar"))) > 2
    return tmp_path / "shards"


def batches(path: Path, **changes) -> TrainBatches:
    source = Source(str(path), where={"label": [0, 1]}, read={"audio": {"rate": 16000}}, **changes)
    return TrainBatches([source], CONFIGS, PAIRS, batch=4, steps=8, seed=1)


def test_batches_are_those_of_the_files_to_the_bit(files, shards):
    for loose, stored in zip(batches(files), batches(shards), strict=True):
        assert (loose.ids, loose.groups) == (stored.ids, stored.groups)
        for name in CONFIGS:
            assert torch.equal(loose.rows[name], stored.rows[name])
            assert torch.equal(loose.digests[name], stored.digests[name])
            for key, tensor in loose.inputs[name].items():
                assert torch.equal(tensor, stored.inputs[name][key]), (name, key)
        reasons = [[row.reason.split(": ", 1)[1] for row in batch.bad] for batch in (loose, stored)]
        assert reasons[0] == reasons[1]


def test_the_bad_picture_is_met_and_reported_as_from_files(files, shards):
    bad = [[(row.id, row.modality) for batch in batches(path) for row in batch.bad] for path in (files, shards)]
    assert bad[0] == bad[1] == []  # `where` leaves it out
    column = Column(Manifest.load(Source(str(shards)), ["image"]), "image", CONFIGS["image"])
    reader = Reader()
    assert reader.read(column, np.arange(len(column)))[1].tolist() == [i != 5 for i in range(EVENTS)]
    assert [(row.id, row.reason[:28]) for row in reader.take_bad()] == [("e.5", "5.png: expected a picture, g")]


def test_steps_can_be_taken_up_anywhere_and_dealt_to_ranks(files, shards):
    whole = batches(shards)
    parts = [TrainBatches([Source(str(shards))], CONFIGS, PAIRS, 4, 8, 1, rank, 2) for rank in (0, 1)]
    both = TrainBatches([Source(str(files))], CONFIGS, PAIRS, 4, 8, 1)
    assert whole[6].ids == batches(shards)[6].ids
    assert sorted(parts[0][5].ids + parts[1][5].ids) == sorted(both[5].ids)


def test_the_manifest_stays_the_same_file_and_so_does_a_pool(files, shards):
    loose, stored = (Manifest.load(Source(str(path)), ["image"]) for path in (files, shards))
    assert loose.sha256 == stored.sha256
    pools = [load_pool([Source(str(path))], CONFIGS, max_bad_fraction=1.0) for path in (files, shards)]
    for name in CONFIGS:
        digests = [[item.digest for item in pool.items[name]] for pool in pools]
        assert digests[0] == digests[1]
    assert pools[0].ids == pools[1].ids
    assert pools[1].attributes["label"] == [i % 3 for i in range(EVENTS) if i not in (3, 4, 5)]


def test_the_path_of_the_index_is_a_source_too(shards):
    assert len(Manifest.load(Source(str(shards / "shards.json")), ["image"]).rows) == EVENTS


def test_equal_input_gives_equal_bytes(files, shards, tmp_path):
    write_shards(files, tmp_path / "again", size_mib=0.1, shown=False)
    hashes = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in (shards, tmp_path / "again")
    ]
    assert hashes[0] == hashes[1]
    with tarfile.open(shards / "000000.tar") as tar:
        assert {(member.mtime, member.uid, member.uname, member.mode) for member in tar} == {(0, 0, "", 0o644)}


def test_a_file_of_several_rows_is_stored_once_in_a_shard(files, tmp_path):
    write_shards(files, tmp_path / "one", shown=False)
    with tarfile.open(tmp_path / "one" / "000000.tar") as tar:
        names = tar.getnames()
        contents = [tar.extractfile(name).read() for name in names if name.endswith(".wav")]
    assert len(contents) == len(set(contents)) > 5
    assert names[:3] == ["000000000.image.png", "000000000.audio.wav", "000000000.json"]
    assert "000000001.audio.0.wav" in names
    assert "000000001.audio.1.wav" not in names  # recording 0 is in the shard already


def test_a_shard_alone_holds_all_files_of_its_rows(shards, files):
    for path in shards.glob("*.tar"):
        with tarfile.open(path) as tar:
            contents = {tar.extractfile(member).read() for member in tar}
            for member in tar:
                if member.name.endswith(".json"):
                    row = json.loads(tar.extractfile(member).read())
                    assert (files / row["image"]).read_bytes() in contents


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_webdataset_reads_what_was_written(files, shards):
    webdataset = pytest.importorskip("webdataset")
    urls = sorted(map(str, shards.glob("*.tar")))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    gc.collect()
    rows = [json.loads(sample["json"]) for sample in samples]
    assert rows == [json.loads(line) for line in (files / "manifest.jsonl").read_text().splitlines()]
    for sample, row in zip(samples, rows, strict=True):
        assert sample["image.png"] == (files / row["image"]).read_bytes()


def test_only_the_modalities_asked_for_are_kept(files, tmp_path):
    write_shards(files, tmp_path / "s", modalities=["image"], shown=False)
    row = json.loads((tmp_path / "s" / "manifest.jsonl").read_text().splitlines()[0])
    assert row == {"id": "e.0", "image": "0.png", "label": 0}
    with pytest.raises(UserError, match="unknown modality 'imgae': did you mean 'image'"):
        write_shards(files, tmp_path / "t", modalities=["imgae"])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("../secret.png", "absolute paths and `..` are refused"),
        ("/etc/hostname", "absolute paths and `..` are refused"),
        ("link.png", "a link that leads out of it"),
        ("gone.png", "found none at"),
    ],
)
def test_a_file_outside_the_root_or_missing_refuses_all_and_leaves_nothing(tmp_path, cell, reason):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(b"a")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    write_manifest([{"id": "a", "image": "a.png"}, {"id": "b", "image": cell}], root / "manifest.jsonl")
    with pytest.raises(UserError, match="row 'b', image: ") as error:
        write_shards(root, tmp_path / "out")
    assert reason in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"root", "secret.png"}


def test_a_file_that_goes_away_while_it_is_written_leaves_nothing(files, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(tarfile.TarFile, "addfile", fails)
    with pytest.raises(OSError, match="disk full"):
        write_shards(files, tmp_path / "out", shown=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(files, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        write_shards(files, tmp_path)
    with pytest.raises(UserError, match="more than 0 MiB"):
        write_shards(files, tmp_path / "new", size_mib=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# --- an index that may be a stranger's


def change(folder: Path, **parts) -> None:
    index = json.loads((folder / "shards.json").read_text())
    (folder / "shards.json").write_text(json.dumps(index | parts))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"shards": [["../x.tar", 5]], "media": {}}, "which is not below"),
        ({"shards": [["/etc/passwd", 5]], "media": {}}, "which is not below"),
        ({"shards": [["gone.tar", 5]], "media": {}}, "there is no file at"),
        ({"shards": [["000000.tar", 5]], "media": {}}, "expects 5: copy it again"),
        ({"media": {"a": [0, 0, 10**12]}}, "lies beyond the end of its shard"),
        ({"media": {"a": [0, -1, 1]}}, "lies beyond the end of its shard"),
        ({"media": {"a": [99, 0, 1]}}, "is damaged"),
        ({"media": {"a": "b"}}, "is damaged"),
        ({"media": []}, "is damaged"),
        ({"schema": 2}, "has schema 2, and this version reads 1"),
    ],
)
def test_an_index_that_leads_astray_is_refused(shards, parts, sentence):
    change(shards, **parts)
    with pytest.raises(UserError, match=sentence):
        Manifest.load(Source(str(shards)), ["image"])


def test_what_no_shard_holds_is_a_bad_row_and_no_file_beside_takes_its_place(shards):
    (shards / "0.png").write_bytes(b"beside")
    index = json.loads((shards / "shards.json").read_text())
    del index["media"]["0.png"]
    change(shards, media=index["media"])
    column = Column(Manifest.load(Source(str(shards)), ["image"]), "image", CONFIGS["image"])
    with pytest.raises(BadSample, match="found none in"):
        column.medium(0)


def test_an_index_goes_to_another_process_without_its_descriptors(shards):
    index = Shards(shards / "shards.json", shards)
    content = index.find("1.png").read_bytes()
    assert pickle.loads(pickle.dumps(index)).find("1.png").read_bytes() == content


def test_few_shards_are_open_at_a_time(shards, monkeypatch):
    monkeypatch.setattr("bindspace.data.shards.OPEN", 2)
    index = Shards(shards / "shards.json", shards)
    for name in index.media:
        assert index.find(name).read_bytes()
    assert len(index._opened) == 2


# --- shards of other tools


@pytest.fixture
def foreign(files, tmp_path) -> Path:
    """Two shards as webdataset writes them."""
    webdataset = pytest.importorskip("webdataset")
    folder = tmp_path / "foreign" / "deep"
    folder.mkdir(parents=True)
    for number in range(2):
        with webdataset.TarWriter(str(folder / f"x-{number}.tar")) as writer:
            for i in range(3):
                fields = {"lang": "en", "id": 7}
                sample = {"png": (files / f"{i}.png").read_bytes(), "txt": f"thing {i}", "json": fields, "cls": i}
                writer.write({"__key__": f"{i:04d}", **sample})
    return tmp_path / "foreign"


def test_shards_of_another_tool_are_indexed_where_they_are(foreign, files):
    pattern = str(foreign / "**/*.tar")
    assert index_tars([pattern], foreign, {"png": "image", "txt": "text", "cls": "label"}, shown=False) == 6
    manifest = Manifest.load(Source(str(foreign)), ["image", "text"])
    expected = {"id": "deep/x-1/0002", "image": "deep/x-1.tar/0002.png", "text": "thing 2", "label": "2", "lang": "en"}
    assert manifest.rows[5] == expected
    column = Column(manifest, "image", CONFIGS["image"])
    assert column.medium(5).digest() == hashlib.sha256((files / "2.png").read_bytes()).digest()
    batch = TrainBatches([manifest], CONFIGS, [Pair(["image", "text"])], 4, 1, 0)[0]
    assert len(batch.rows["image"]) == len(batch.rows["text"]) == 4


def test_keys_that_begin_with_a_modality_need_no_columns(shards, tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again/a.tar").write_bytes((shards / "000000.tar").read_bytes())
    rows = index_tars([str(tmp_path / "again/*.tar")], tmp_path / "again", shown=False)
    manifest = Manifest.load(Source(str(tmp_path / "again")), ["image"])
    assert len(manifest.rows) == rows
    assert manifest.rows[0]["image"] == "a.tar/000000000.image.png"
    assert manifest.rows[0]["text"] == ["a ball 0", "ü"]


def test_what_cannot_be_indexed_is_a_sentence(foreign, tmp_path):
    pattern = str(foreign / "deep/*.tar")
    with pytest.raises(UserError, match=r"map one of the keys cls, png, txt with 'columns="):
        index_tars([pattern], foreign, shown=False)
    with pytest.raises(UserError, match="no file matches"):
        index_tars([str(foreign / "*.rat")], foreign)
    with pytest.raises(UserError, match="is outside"):
        index_tars([pattern], tmp_path / "elsewhere")
    with tarfile.open(foreign / "deep/packed.tar", "w:gz") as tar:
        tar.add(foreign / "deep/x-0.tar", "x.tar")
    with pytest.raises(UserError, match="is not a plain tar file"):
        index_tars([pattern], foreign, {"png": "image"}, shown=False)
    assert {path.name for path in foreign.iterdir()} == {"deep"}

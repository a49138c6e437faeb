"""Planted leaks: what should not have been in training is said of the cell, every time."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from examples import write_examples
from PIL import Image

from bindspace import Source
from bindspace.benchmark.emergent import run_benchmark
from bindspace.benchmark.near_duplicates import find_near
from bindspace.cli import main
from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace.data import load_pool
from bindspace.io.sounds import resampled
from bindspace.ledger.ledger import Ledger
from bindspace.settings.run import BenchmarkSettings
from bindspace.space.bundle import save
from bindspace.space.space import Space

QUICK = [
    "data=manifest", "data.batch=8", "data.workers=0", "data.val_fraction=0", "trainer.threads=1",
    "trainer.accelerator=cpu", "trainer.precision=float32", "trainer.progress=false", "logger=csv", "dim=4",
    "pivot=vector", "modality=[vector,words,curve]", "stages=[{name: only, steps: 9}]", "benchmark.permutations=20",
]  # fmt: skip
LISTED = "pairs=[{of: [vector,words]},{of: [vector,curve]},{of: [curve,words]}]"
SEEDS = range(4)
SOUNDS = [("FLAC", 22050, 0.5), ("OGG", 16000, 0.25), ("OGG", 8000, 0.7), ("MP3", 44100, 0.9)]  # format, Hz, level


def rows_of(manifest: Path) -> list[dict]:
    """The rows of a manifest."""
    return [json.loads(line) for line in (manifest / "manifest.jsonl").read_text().splitlines()]


def write_rows(folder: Path, rows: list[dict]) -> None:
    """Puts them in its place."""
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def cells(report: Path) -> dict[tuple[str, str], dict]:
    """The cells of a report by query and gallery."""
    return {(cell["query"], cell["gallery"]): cell for cell in json.loads(report.read_text())["pairs"]}


# --- what the ledger sees: rows of the pair, and equal bytes


@pytest.fixture
def toys(tmp_path, monkeypatch, install_toys):
    """Two sources of disjoint events, `vw` and `vc`, and a test pool, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, seed, held in [("vw", 1, "vector words"), ("vc", 2, "vector curve"), ("test", 3, "vector words curve")]:
        write_examples(Path(name), seed, 16, held.split())


def trained(seed: int, *more: str, sources: str = "{path: vw},{path: vc}") -> dict[tuple[str, str], dict]:
    """Trains and measures; the cells of the report."""
    asked = [f"data.train=[{sources}]", "data.test=[{path: test}]", f"seed={seed}", f"out=run{seed}", *more]
    assert main(["train", *QUICK, *asked]) == 0
    return cells(Path(f"run{seed}/benchmark/report.json"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_few_rows_of_the_pair_itself_turn_its_status(toys, seed):
    clean = trained(seed)
    assert clean["curve", "words"]["status"] == clean["words", "curve"]["status"] == "emergent"
    shutil.rmtree(f"run{seed}")
    Path("leak").mkdir()
    shutil.copy("vc/curve0.npy", "leak/a.npy")
    shutil.copy("vc/curve1.npy", "leak/b.npy")
    write_rows(
        Path("leak"), [{"id": "a", "curve": "a.npy", "words": "one"}, {"id": "b", "curve": "b.npy", "words": "two"}]
    )
    leaky = trained(seed, LISTED, sources="{path: vw},{path: vc},{path: leak, weight: 0.2}")
    assert leaky["curve", "words"]["status"] == leaky["words", "curve"]["status"] == "trained"


def test_rows_of_a_pair_that_is_not_listed_are_no_training_of_it(toys):
    """Only listed pairs are trained, whatever the rows hold: without gradient there is nothing to record."""
    rows = rows_of(Path("vc"))
    write_rows(Path("vc"), [*rows, {"id": "more", "curve": "curve0.npy", "words": "one"}])
    assert trained(0)["curve", "words"]["status"] == "emergent"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_test_clip_in_training_under_another_name_is_counted_and_left_out(toys, seed):
    victim = int(np.random.default_rng(seed).integers(16))
    shutil.copy(f"test/curve{victim}.npy", "vc/another_name.npy")
    rows = rows_of(Path("vc"))
    rows[seed] |= {"curve": "another_name.npy"}
    write_rows(Path("vc"), rows)
    found = trained(seed)
    assert [found["curve", "words"]["overlap"][side] for side in ("query", "pivot", "group")] == [1, 0, 0]
    assert found["words", "curve"]["overlap"]["gallery"] == 1
    assert found["curve", "words"]["clean"]["n"] == 15
    assert found["vector", "words"]["overlap"]["query"] == 0


# --- what only fingerprints see: other bytes of the same picture or sound


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Pictures and sounds of the simulated world: `train` and `test`, of different events."""
    root = tmp_path_factory.mktemp("world")
    for name, seed, events in (("train", 1, 60), ("test", 2, 24)):
        given = [f"events={events}", f"seed={seed}", "modalities=[image,text,audio]", "workers=1"]
        assert main(["world", f"out={root / name}", *given]) == 0
    return root


@pytest.fixture(scope="module")
def pool(world):
    """The test events."""
    configs = {name: registry.load(name)() for name in ("image", "text", "audio")}
    return load_pool([Source(str(world / "test"))], configs)


def sound_again(data: Path, kind: str, rate: int, level: float) -> bytes:
    """The same sound in another format, at another rate and level."""
    wave, own = soundfile.read(data, dtype="float32")
    wave = wave if own == rate else resampled(wave, own, rate)
    file = io.BytesIO()
    soundfile.write(file, level * wave / max(1.0, float(np.abs(wave).max())), rate, format=kind)
    return file.getvalue()


def picture_again(data: Path, share: float) -> bytes:
    """The same picture smaller, as JPEG of quality 60."""
    picture, file = Image.open(data).convert("RGB"), io.BytesIO()
    size = tuple(round(share * side) for side in picture.size)
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=60)
    return file.getvalue()


def planted(world: Path, tmp_path: Path, seed: int) -> tuple[Path, list[int]]:
    """The training data with four sounds and four pictures of test events in it, encoded anew; and which events."""
    folder = tmp_path / f"leaky{seed}"
    shutil.copytree(world / "train", folder)
    rows, test = rows_of(folder), rows_of(world / "test")
    chosen = np.random.default_rng(seed).permutation(len(test))[:4].tolist()
    for number, (event, how) in enumerate(zip(chosen, SOUNDS)):
        names = {"audio": f"copy{number}.{how[0].lower()}", "image": f"copy{number}.jpg"}
        (folder / names["audio"]).write_bytes(sound_again(world / "test" / test[event]["audio"], *how))
        (folder / names["image"]).write_bytes(picture_again(world / "test" / test[event]["image"], 0.5 + 0.3 * number))
        rows.append({"id": f"copy-{number}", **names})
    write_rows(folder, rows)
    return folder, sorted(chosen)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_test_clip_that_was_encoded_anew_is_found_among_training_media_and_nothing_else_is(
    world, pool, tmp_path, seed
):
    folder, events = planted(world, tmp_path, seed)
    near = find_near(pool, [Source(str(folder))], progress=False)
    assert set(near) == {"image", "audio"}
    for name, found in near.items():
        assert np.flatnonzero(found.near).tolist() == events, (name, np.sort(found.distance)[:6])
        assert {found.nearest[event] for event in events} == {f"copy-{number}" for number in range(4)}
        assert found.media == 64


def test_media_of_other_events_are_not_near(world, pool):
    for name, found in find_near(pool, [Source(str(world / "train"))], progress=False).items():
        assert not found.near.any(), (name, np.sort(found.distance)[:6])
        assert found.distance.min() > 1.25 * found.at_most, name  # with room


def test_copies_are_near_too_and_need_no_ledger(world, pool):
    near = find_near(pool, [Source(str(world / "test"))], progress=False)
    assert all(found.near.all() and not found.distance.any() for found in near.values())
    space = Space(pool.configs, 16, "image").eval()
    report = run_benchmark(space, pool, BenchmarkSettings(permutations=10), near=near, progress=False)
    (cell,) = [cell for cell in report["pairs"] if (cell["query"], cell["gallery"]) == ("audio", "text")]
    assert cell["overlap"]["query"] is None
    assert cell["overlap"]["near"] == {"query": 24, "gallery": None, "pivot": 24}
    assert (cell["recall_clean"], cell["clean"]) == (None, {"n": 0, "gallery_size": 0})


def test_the_command_counts_them_beside_the_exact_ones_and_leaves_them_out(world, pool, tmp_path, capsys):
    folder, events = planted(world, tmp_path, 0)
    space = Space(
        {name: type(config)(**type(config).small) for name, config in pool.configs.items()}, 16, "image"
    ).eval()
    space.ledger = Ledger.new(dict.fromkeys(space.modalities, "random"))
    save(space, tmp_path / "space")
    sources = [f"data.test=[{{path: {world / 'test'}}}]", f"data.near=[{{path: {folder}}}]"]
    given = [f"space={tmp_path / 'space'}", f"out={tmp_path / 'report'}", "suite=quick", "benchmark.permutations=10"]
    assert main(["benchmark", *given, *sources, "device=cpu"]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    found = cells(tmp_path / "report" / "report.json")["audio", "text"]
    assert found["overlap"] == {
        "query": 0, "gallery": 0, "pivot": 0, "group": 0, "near": {"query": 4, "gallery": None, "pivot": 4}
    }  # fmt: skip
    assert found["clean"] == {"n": 20, "gallery_size": 20}
    told = report["near"]["audio"]
    assert (told["near"], told["of"], told["training_media"]) == (4, 24, 64)
    assert {each["event"] for each in told["found"]} == {pool.ids[event] for event in events}
    assert all(each["bits"] <= told["at_most_bits"] for each in told["found"])
    words = f"audio 4 of 24 (at most {told['at_most_bits']} bits from one of 64 in training)"
    assert words in (tmp_path / "report" / "report.md").read_text()
    assert words in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_compared_gets_a_sentence(world, toys, install_toys, tmp_path):
    configs = {"vector": install_toys.VectorConfig(), "words": install_toys.WordsConfig()}
    pool = load_pool([Source("vw")], configs)
    with pytest.raises(UserError, match=r"data\.near: none of vector, words has fingerprints"):
        find_near(pool, [Source("vw")], progress=False)
    configs = {name: registry.load(name)() for name in ("image", "text", "audio")}
    pool = load_pool([Source(str(world / "test"))], configs)
    with pytest.raises(UserError, match="needs columns image or audio"):
        find_near(pool, [Source("vw")], progress=False)
    folder = tmp_path / "spoilt"
    shutil.copytree(world / "train", folder)
    (folder / rows_of(folder)[0]["audio"]).write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"1 of 60 rows cannot be read, and data\.max_bad_fraction is 0\.01"):
        find_near(pool, [Source(str(folder))], progress=False)
    assert find_near(pool, [Source(str(folder))], 0.1, progress=False)["audio"].media == 59


def test_samples_without_a_fingerprint_are_near_to_nothing_and_lengths_that_differ_are_the_plugins_mistake(
    toys, install_toys
):
    class Printed(install_toys.VectorConfig):
        near = 300

        def fingerprint(self, sample):
            return None if sample[0] > 0 else bytes(32)

    class Uneven(install_toys.VectorConfig):
        def fingerprint(self, sample):
            return bytes(31 + int(sample[0] > 0))

    pool = load_pool([Source("vw")], {"vector": Printed()}, ["vector"])
    positive = np.array([pool.shown("vector", index)[0] > 0 for index in range(16)])
    assert 0 < positive.sum() < 16
    found = find_near(pool, [Source("vc")], progress=False)["vector"]
    assert found.near.tolist() == (~positive).tolist()
    pool.configs["vector"] = Uneven()
    with pytest.raises(UserError, match="fingerprints of vector: expected one length, got 31 and 32 bytes"):
        find_near(pool, [Source("vc")], progress=False)

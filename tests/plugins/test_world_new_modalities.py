"""Modalities that the world does not know: it shows each event's concept by what their plugins make."""

from pathlib import Path

import numpy as np
import pytest
from test_world_files import digests, read_rows, small

from bindspace.benchmark.emergent import run_benchmark
from bindspace.contract import registry
from bindspace.contract.errors import PluginError, UserError
from bindspace.data import load_pool
from bindspace.settings.run import BenchmarkSettings
from bindspace.space.space import Space
from bindspace_world import WorldConfig, writing
from bindspace_world.new_modalities import Maker

TOUCH = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from bindspace import Cell, ModalityConfig
@dataclass(kw_only=True)
class TouchConfig(ModalityConfig):
    modality: ClassVar[str] = "touch"
    expects: ClassVar[str] = "anything"
    cell: ClassVar[Cell] = Cell.{cell}
    def example(self, rng, concept):
        import numpy as np
        return {source}, {info}
"""
PAIR, BOTH = [("image", "touch")], ["image", "touch"]


@pytest.fixture
def touch(install):
    """Installs a plugin for `touch` whose example gives that expression."""

    def add(source: str, info: str = "{}", cell: str = "path", name: str = "touch") -> None:
        code = TOUCH.format(source=source, info=info, cell=cell)
        install("bindspace-touch", {"bindspace_touch.py": code}, **{name: "bindspace_touch:TouchConfig"})

    return add


def test_a_modality_of_an_installed_plugin_shows_the_concepts_of_events_of_its_own(tmp_path, install_toys):
    sources = small(tmp_path).sources([("vector", "image"), ("words", "vector")], ["image", "vector", "words"])
    kinds = {name: registry.load(name)() for name in ("vector", "words")}
    assert [source.modalities for source in sources["train"]] == [["image", "vector"], ["vector", "words"]]
    held, ids = [*sources["train"], *sources["val"], *sources["test"]], []
    for source in held:
        rows = read_rows(source.path)
        ids += [row["id"] for row in rows]
        for row in rows:
            centre = np.random.default_rng(row["concept"]).normal(size=6)
            assert row["vector"].endswith(".npy")
            assert np.abs(kinds["vector"].read(Path(source.path).parent / row["vector"], {}) - centre).max() < 1
            if "words" in row:
                assert kinds["words"].read(row["words"], {})[0] == f"word{row['concept']}"
        assert "image" not in rows[0] or (Path(source.path).parent / rows[0]["image"]).is_file()
    assert len(ids) == len(set(ids)) == 8 + 8 + 6 + 7 + 7
    assert all(source.modalities == ["image", "vector", "words"] for source in sources["test"])


def test_what_the_world_knows_is_written_as_ever(tmp_path, install_toys):
    alone = small(tmp_path / "alone").sources([("image", "text")], ["image", "text"])
    beside = small(tmp_path / "beside").sources([("image", "text"), ("image", "words")], ["image", "text", "words"])
    first, *_ = (Path(split["train"][0].path).parent for split in (alone, beside))
    assert first.name == Path(beside["train"][0].path).parent.name == "world1-seed7-train-image-text-seen-8-captions6"
    assert digests(first) == digests(Path(beside["train"][0].path).parent)
    names = [Path(split["val"][0].path).parent for split in (alone, beside)]
    assert names[0].name == "world1-seed7-val-seen-image-text-6-captions1"
    assert names[1].name.startswith("world1-seed7-val-seen-image-text-words-6-captions1-examples")
    shown = [[{k: v for k, v in row.items() if k != "words"} for row in read_rows(n / "manifest.jsonl")] for n in names]
    assert shown[0] == shown[1]


def test_several_processes_write_the_examples_that_one_does(tmp_path, install_toys, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 4)
    config = {"events": 10, "modalities": ["text", "words", "vector"]}
    one = WorldConfig(**config, workers=1).write(tmp_path / "one").parent
    two = WorldConfig(**config, workers=2).write(tmp_path / "two").parent
    assert digests(one) == digests(two)
    assert len(list((one / "vector").iterdir())) == 10
    rows = list(WorldConfig(**config, test_events=10).rows("test"))
    assert all(row["vector"].endswith(f"/vector/{number % 10:06d}.npy") for number, row in enumerate(rows))
    assert all(row["words"].startswith("word") for row in rows)


def test_each_event_and_modality_has_random_numbers_of_its_own(install_toys):
    vector, curve = Maker("vector"), Maker("curve")
    made = [maker(seed, number, 3).data for maker in (vector, curve) for seed in (1, 2) for number in (0, 1)]
    assert len(set(made)) == 8
    assert made[0] == vector(1, 0, 3).data


@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        (r"b'\x89PNG\r\n\x1a\n...'", ".png"),
        (r"b'\x93NUMPY...'", ".npy"),
        ("b'RIFF....WAVE'", ".wav"),
        ("b'who knows'", ".bin"),
        ("Path(__file__)", ".py"),
        ("__file__", ".py"),
    ],
)
def test_the_file_of_an_example_has_a_suffix_that_fits_it(tmp_path, touch, source, suffix):
    touch(source, "{'rate': np.float32(0.5), 'axes': np.arange(2), 'unit': 'kPa'}")
    row = read_rows(small(tmp_path).sources(PAIR, BOTH)["train"][0].path)[0]
    assert row["touch"] == f"touch/000000{suffix}"
    assert (row["touch.rate"], row["touch.axes"], row["touch.unit"]) == (0.5, [0, 1], "kPa")


@pytest.mark.parametrize(("source", "cell"), [("'a word'", "a word"), ("2.5", 2.5), ("np.arange(3)", [[0, 1, 2]])])
def test_a_value_stands_in_the_manifest_itself(tmp_path, touch, source, cell):
    touch(source, cell="value")
    assert read_rows(small(tmp_path).sources(PAIR, BOTH)["train"][0].path)[0]["touch"] == cell


def test_an_implementation_of_another_name_serves_where_none_has_the_modalitys(tmp_path, touch):
    touch("b'some bytes'", name="touch_wide")
    assert small(tmp_path).sources(PAIR, BOTH)["train"][0].modalities == BOTH


def test_other_examples_are_written_into_another_folder(tmp_path, touch, monkeypatch):
    touch("b'%d %d' % (concept, rng.integers(9))")
    first = small(tmp_path).sources(PAIR, BOTH)
    assert small(tmp_path).sources(PAIR, BOTH) == first
    monkeypatch.setattr(registry.load("touch"), "example", lambda self, rng, concept: (b"%d" % concept, {}))
    assert not {source.path for source in first["train"]} & {
        source.path for source in small(tmp_path).sources(PAIR, BOTH)["train"]
    }


@pytest.mark.parametrize(
    ("source", "info", "cell", "message"),
    [
        ("1 / 0", "{}", "path", r"fails in `example` at concept 0: ZeroDivisionError: division by zero"),
        ("np.zeros(3)", "{}", "path", r"expected the bytes or the path of a file of `example`, .* got ndarray"),
        ("'nowhere.wav'", "{}", "path", r"names a file in `example` that cannot be read: nowhere\.wav"),
        ("object()", "{}", "value", r"as the source of `example`, got Object of type object"),
        ("float('nan')", "{}", "value", r"as the source of `example`, got Out of range"),
        ("b'x'", "{'rate': {1}}", "path", r"as info\['rate'\] of `example`, got Object of type set"),
        ("b'x'", "None", "path", r"expected \(source, info\) from `example`, got tuple"),
        ("np.random.default_rng().bytes(4)", "{}", "path", r"different examples for the same rng and concept"),
    ],
)
def test_an_example_that_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path, touch, source, info, cell, message
):
    touch(source, info, cell)
    with pytest.raises(PluginError, match=rf"^plugin 'touch' of bindspace-touch .*{message}"):
        small(tmp_path).sources(PAIR, BOTH)
    with pytest.raises(PluginError, match=message):
        WorldConfig(modalities=BOTH, events=3).write(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_plugin_without_examples_says_what_to_do(tmp_path, touch, monkeypatch):
    touch("b''")
    monkeypatch.delattr(registry.load("touch"), "example")
    with pytest.raises(PluginError, match=r"has no `example`, so the world cannot show it: write the method, or train"):
        small(tmp_path).sources(PAIR, BOTH)


def test_a_modality_of_nobody_is_unknown_and_those_of_plugins_are_listed(tmp_path, touch):
    touch("b''")
    with pytest.raises(UserError, match=r"unknown modality of the world 'tuch': did you mean 'touch'\?"):
        small(tmp_path).sources([("image", "tuch")], ["image", "tuch"])
    few = small(tmp_path, pair_events={"touch": 3, "image-touch": 4}).sources(PAIR, BOTH)
    assert len(read_rows(few["train"][0].path)) == 4


def test_the_report_says_what_the_concept_allows(tmp_path, install_toys):
    config = small(tmp_path, test_events=60)
    source = config.sources([("image", "vector")], ["image", "depth", "vector"])["test"][0]
    kinds = {name: registry.load(name)() for name in ("image", "depth", "vector")}
    settings = BenchmarkSettings(permutations=50)
    report = run_benchmark(
        Space(kinds, 8, "image"), load_pool([source], kinds), settings, known=config.known(), progress=False
    )
    ceiling = {(cell["query"], cell["gallery"]): cell["ceiling"] for cell in report["pairs"]}
    concepts = [row["concept"] for row in read_rows(source.path)]
    alike = np.array([concepts.count(concept) for concept in concepts])
    for k in (1, 10):
        assert ceiling["image", "vector"][str(k)] == pytest.approx(np.minimum(1, k / alike).mean())
    assert ceiling["depth", "vector"] is None  # depth tells the shape, which says something of the concept
    assert ceiling["image", "depth"] is not None
    assert "concept" not in {cell["attribute"] for cell in report["zero_shot"]}

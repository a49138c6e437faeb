"""Vectors of frozen towers: the same bits with and without the cache, after a kill."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from bindspace import BadSample, Cell, ModalityConfig, Pair
from bindspace.contract.dataset import Augment, Source
from bindspace.contract.errors import UserError
from bindspace.data import BadRows, Manifest, TrainBatches, load_pool
from bindspace.data.tables import write_manifest
from bindspace.space.space import Space
from bindspace.vectors.cache import VectorCache
from bindspace.vectors.embedding import cache_vectors, embed_items, open_caches
from bindspace.vectors.key import tower_key

EVENTS = 20


@dataclass(kw_only=True)
class MarkConfig(ModalityConfig):
    """Four numbers in a cell; a seed shifts them."""

    modality: ClassVar[str] = "mark"
    expects: ClassVar[str] = "four numbers"
    cell: ClassVar[Cell] = Cell.value
    width: int = 6
    shift: float = 1.0

    def __post_init__(self):
        self.calls: list[int] = []  # how many samples each call of `prepare` had

    def read(self, source: Any, info: Any) -> np.ndarray:
        if source is None or len(source) != 4:
            raise BadSample("expected four numbers")
        return np.array(source, dtype=np.float32) * info.get("gain", 1)

    def prepare(self, samples, *, seeds=None, augment="weak"):
        self.calls.append(len(samples))
        x = torch.from_numpy(np.stack(samples))
        return {"x": x if seeds is None else x + self.shift * torch.tensor([[seed % 1000 / 1000] for seed in seeds])}

    def encoder(self, *, pretrained):
        class Encoder(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.layer = nn.Linear(4, width)

            def forward(self, x):
                return torch.tanh(self.layer(x))

        return Encoder(self.width)


@dataclass(kw_only=True)
class SignConfig(MarkConfig):
    modality: ClassVar[str] = "sign"


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    """Twenty events with a mark and a sign each; the fourth repeats the first's mark, the sixth's mark is bad."""
    numbers = np.random.default_rng(0).normal(size=(EVENTS, 8)).round(3).tolist()
    rows = [{"id": f"e{i}", "mark": [n[:4]], "sign": [n[4:]]} for i, n in enumerate(numbers)]
    rows[3]["mark"] = rows[0]["mark"]
    rows[5]["mark"] = [[1.0]]
    write_manifest(rows, tmp_path / "manifest.jsonl")
    return Manifest.load(Source(str(tmp_path / "manifest.jsonl"), augment=Augment.weak), ["mark", "sign"])


def new_space(seed: int = 0, **settings: Any) -> Space:
    torch.manual_seed(seed)
    return Space({"mark": MarkConfig(**settings), "sign": SignConfig()}, 4, "mark")


def cached(space: Space, manifest: Manifest, place: Path, **options: Any) -> torch.Tensor:
    found = cache_vectors(space, ["mark"], [manifest], BadRows(), place, batch_size=4, shown=False, **options)
    vectors = found["mark"][manifest.key]
    return vectors.store.take(vectors.rows.ravel())


def counted(space: Space) -> list[int]:
    return space.configs["mark"].calls


def test_vectors_are_those_of_the_tower_and_a_bad_cell_has_none(manifest, tmp_path):
    space, bad = new_space(), BadRows()
    found = cache_vectors(space, ["mark"], [manifest], bad, tmp_path / "c", batch_size=4, shown=False)["mark"]
    vectors = found[manifest.key]
    assert len(bad) == 1
    z = vectors.look_up(np.arange(EVENTS))
    assert z.isnan().all(1).tolist() == [i == 5 for i in range(EVENTS)]
    alone = space.embed(mark=[manifest.rows[7]["mark"][0]])["mark"]
    assert torch.allclose(z[7:8], alone, atol=1e-6)
    assert torch.equal(z[0], z[3])
    assert sum(counted(space)) == EVENTS - 2 + 1  # neither the bad cell nor the repeated one; one by hand


def test_a_second_run_computes_nothing_and_gets_the_same_bits(manifest, tmp_path):
    first = cached(new_space(), manifest, tmp_path / "c")
    space = new_space()
    assert torch.equal(cached(space, manifest, tmp_path / "c").nan_to_num(), first.nan_to_num())
    assert counted(space) == []


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.5, 0.99])
def test_a_cache_that_was_cut_short_is_completed_to_the_same_bits(manifest, tmp_path, keep):
    whole = cached(new_space(), manifest, tmp_path / "whole")
    cached(new_space(), manifest, tmp_path / "cut")
    (path,) = (tmp_path / "cut").glob("*/*.vectors")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    space = new_space()
    again = cached(space, manifest, tmp_path / "cut")
    assert torch.equal(again.nan_to_num(), whole.nan_to_num())
    assert 0 < sum(counted(space)) <= EVENTS - 2


@pytest.mark.parametrize("name", ["0", "z"])
def test_a_file_of_another_run_shifts_no_vector_of_several_sources(manifest, tmp_path, name):
    first, second = manifest.subset(range(10), "a"), manifest.subset(range(10, EVENTS), "b")
    cached(new_space(), manifest.subset(range(8, 12), "c"), tmp_path / "c")
    (path,) = (tmp_path / "c").glob("*/*.vectors")
    path.rename(path.with_name(f"{name}.vectors"))  # before or behind what is written now
    found = cache_vectors(new_space(), ["mark"], [first, second], BadRows(), tmp_path / "c", batch_size=4, shown=False)
    both = [vectors.store.take(vectors.rows.ravel()) for vectors in found["mark"].values()]
    assert torch.allclose(torch.cat(both), cached(new_space(), manifest, tmp_path / "alone"), atol=1e-6, equal_nan=True)


def test_a_torn_block_is_told_by_its_checksum(manifest, tmp_path):
    whole = cached(new_space(), manifest, tmp_path / "c")
    (path,) = (tmp_path / "c").glob("*/*.vectors")
    data = bytearray(path.read_bytes())
    data[40] ^= 1  # in the first vector
    path.write_bytes(data)
    space = new_space()
    assert torch.equal(cached(space, manifest, tmp_path / "c").nan_to_num(), whole.nan_to_num())
    assert sum(counted(space)) == EVENTS - 2  # nothing after it is trusted


def test_another_tower_or_preparation_gets_a_cache_of_its_own(manifest, tmp_path):
    place = tmp_path / "c"
    first = cached(new_space(), manifest, place)
    for space in (new_space(seed=1), new_space(shift=2.0)):
        cached(space, manifest, place)
        assert sum(counted(space)) == EVENTS - 2
    assert len(list(place.iterdir())) == 3
    nudged = new_space()
    with torch.no_grad():
        nudged.towers["mark"].head[1].weight[0, 0] += 1e-6
    cached(nudged, manifest, place)
    assert counted(nudged)
    assert torch.equal(cached(new_space(), manifest, place).nan_to_num(), first.nan_to_num())


def test_a_cache_given_by_name_that_does_not_fit_is_refused(manifest, tmp_path):
    cached(new_space(), manifest, tmp_path / "c")
    (given,) = (tmp_path / "c").iterdir()
    cached(new_space(), manifest, given)
    with pytest.raises(
        UserError, match=r"computed with another tower than mark has here, and cannot be used: give the fo"
    ):
        cached(new_space(seed=1), manifest, given)
    with pytest.raises(UserError, match=r"computed with another preparation than mark has here"):
        cached(new_space(shift=2.0), manifest, given)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("[", "is damaged"), ("{}", "is damaged"), (None, "of another version of bindspace")],
)
def test_a_cache_that_cannot_be_told_is_refused(manifest, tmp_path, text, sentence):
    cached(new_space(), manifest, tmp_path / "c")
    (about,) = (tmp_path / "c").glob("*/cache.json")
    about.write_text(json.dumps({**json.loads(about.read_text()), "schema": 2}) if text is None else text)
    with pytest.raises(UserError, match=sentence):
        cached(new_space(), manifest, tmp_path / "c")


def test_equal_bytes_read_under_other_settings_are_another_content(manifest, tmp_path):
    cached(new_space(), manifest, tmp_path / "c")
    louder = Source(manifest.source.path, read={"mark": {"gain": 2}})
    space = new_space()
    cached(space, Manifest.load(louder, ["mark", "sign"]), tmp_path / "c")
    assert sum(counted(space)) == EVENTS - 2


def test_training_and_evaluation_share_a_cache(manifest, tmp_path):
    cached(new_space(), manifest, tmp_path / "c")
    space = new_space()
    pool = load_pool([manifest], space.configs, ["mark", "sign"], max_bad_fraction=1.0)
    without = torch.cat(list(embed_items(space, pool, "mark", 4)))
    space = new_space()
    pool.configs = space.configs
    caches = open_caches(space, ["mark"], tmp_path / "c")
    assert torch.allclose(torch.cat(list(embed_items(space, pool, "mark", 4, caches))), without, atol=1e-6)
    assert counted(space) == []
    fresh = open_caches(space, ["mark"], tmp_path / "new")
    for _ in range(2):
        assert torch.equal(torch.cat(list(embed_items(space, pool, "mark", 4, fresh))), without)
    assert sum(counted(space)) == len(pool.items["mark"])


def test_steps_look_vectors_up_and_do_not_hash_again(manifest, tmp_path, monkeypatch):
    space = new_space()
    found = cache_vectors(space, ["mark"], [manifest], BadRows(), tmp_path / "c", batch_size=4, shown=False)
    calls = len(counted(space))
    pairs = [Pair(["mark", "sign"])]
    batches = TrainBatches([manifest], space.configs, pairs, 8, 6, seed=0, vectors=found)
    plain = {"mark": {manifest.key: found["mark"][manifest.key].look_up(np.arange(EVENTS))}}
    by_hand = TrainBatches([manifest], space.configs, pairs, 8, 6, seed=0, vectors=plain)
    for step in range(6):
        a, b = batches[step], by_hand[step]
        assert torch.equal(a.vectors["mark"], b.vectors["mark"])
        assert torch.equal(a.digests["mark"], b.digests["mark"])
        assert torch.equal(a.rows["mark"], b.rows["mark"])
    assert len(counted(space)) == calls
    hashed = []
    monkeypatch.setattr("bindspace.data.reading.Medium.digest", lambda medium, _=None: hashed.append(medium))
    TrainBatches([manifest], {**space.configs}, pairs, 8, 6, seed=0, vectors=found).reader.identify(
        batches.events[0].columns["mark"], np.array([0, 1, 2])
    )
    assert hashed == []


def test_a_worker_maps_the_same_files(manifest, tmp_path):
    import pickle

    space = new_space()
    vectors = cached(space, manifest, tmp_path / "c")
    cache = VectorCache(tmp_path / "c", tower_key(space, "mark"))
    size = len(pickle.dumps(cache))
    copy = pickle.loads(pickle.dumps(cache))
    rows = np.arange(len(cache))
    assert torch.equal(copy.take(rows), cache.take(rows))
    assert size < 2000 < vectors.numel() * 4 * EVENTS


def test_a_place_that_cannot_be_written_is_named(manifest, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write into .*: .*file is not a folder"):
        cached(new_space(), manifest, tmp_path / "file")

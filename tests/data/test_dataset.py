from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bindspace import Pair
from bindspace.contract.dataset import Augment, Source
from bindspace.contract.errors import UserError
from bindspace.data import Batch, Column, Manifest, Reader, TrainBatches, evaluation_batches

PAIR = Pair(["touch", "words"])


def batches(sources: list[Source], configs, pairs=(PAIR,), batch=8, steps=20, seed=0, **more: Any) -> TrainBatches:
    return TrainBatches(sources, configs, list(pairs), batch, steps, seed, **more)


def equal(a: Batch, b: Batch) -> bool:
    tensors = [
        *[(a.rows, b.rows), (a.digests, b.digests), (a.vectors, b.vectors)],
        *[(a.inputs[name], b.inputs[name]) for name in a.inputs],
    ]
    same = all(x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x) for x, y in tensors)
    return same and a.inputs.keys() == b.inputs.keys() and (a.source, a.ids) == (b.source, b.ids)


def test_a_batch_holds_what_prepare_returned_and_which_event_it_is(configs, folder) -> None:
    source = folder()
    batch = batches([source], configs)[0]
    assert batch.source == str(Path(source.path) / "manifest.jsonl")
    assert batch.rows["touch"].tolist() == batch.rows["words"].tolist() == list(range(8))
    assert [f"e{int(x)}" for x in batch.inputs["touch"]["x"][:, 0]] == batch.ids
    assert batch.digests["touch"].shape == (8, 32)
    assert (batch.digests["touch"].dtype, batch.bad, batch.vectors) == (torch.uint8, [], {})


def test_modalities_of_an_event_share_their_seed_and_get_the_augmentation_of_the_source(configs, folder) -> None:
    source = folder(columns=("touch", "heat"), augment=Augment.strong)
    batch = batches([source], configs, [Pair(["touch", "heat"])])[3]
    assert torch.equal(batch.inputs["touch"]["seeds"], batch.inputs["heat"]["seeds"])
    assert len(set(batch.inputs["touch"]["seeds"].tolist())) == 8
    assert configs["touch"].prepare_calls[0][1] == "strong"


def test_a_batch_is_the_same_whenever_and_by_whomever_it_is_computed(configs, folder) -> None:
    sources = [folder("a", 21), folder("b", 9, weight=2.0), folder("c", 30, batch=5)]
    walked = batches(sources, configs)
    walk = [walked[step] for step in range(20)]
    fresh = batches(sources, configs)
    assert all(equal(fresh[step], walk[step]) for step in (19, 4, 11, 0))
    other = batches(sources, configs, seed=1)
    assert not all(equal(other[step], walk[step]) for step in range(20))


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world_size=st.integers(1, 9), step=st.integers(0, 19))
def test_the_ranks_together_see_the_batch_of_a_single_one(
    configs, sources: list[Source], world_size: int, step: int
) -> None:
    whole = batches(sources, configs)[step]
    parts = [batches(sources, configs, rank=rank, world_size=world_size)[step] for rank in range(world_size)]
    assert {part.source for part in parts} == {whole.source}
    for position, name in enumerate(whole.ids):
        part, row = parts[position % world_size], position // world_size
        assert part.ids[row] == name
        assert torch.equal(part.digests["touch"][row], whole.digests["touch"][position])
        assert int(part.inputs["touch"]["seeds"][row]) == int(whole.inputs["touch"]["seeds"][position])
    assert sum(len(part.ids) for part in parts) == len(whole.ids)


@pytest.fixture
def sources(folder) -> list[Source]:
    return [folder("a", 21), folder("b", 5)]


def test_a_rank_without_an_event_gets_an_empty_batch(configs, folder) -> None:
    source = folder("a", 2)
    batch = batches([source], configs, rank=2, world_size=3)[0]
    assert (batch.ids, batch.rows, batch.inputs, batch.digests) == ([], {}, {}, {})


def test_sources_come_in_exact_proportion_and_events_equally_often(configs, folder) -> None:
    data = batches([folder("a", 16, weight=3.0), folder("b", 7, batch=4)], configs, steps=40)
    drawn = [data[step] for step in range(40)]
    assert Counter(Path(batch.source).parent.name for batch in drawn) == {"a": 30, "b": 10}
    assert all(len(set(batch.ids)) == len(batch.ids) for batch in drawn)
    seen = Counter(name for batch in drawn if batch.source.endswith("a/manifest.jsonl") for name in batch.ids)
    assert set(seen.values()) == {15}
    assert {len(batch.ids) for batch in drawn} == {8, 4}


def test_a_batch_is_at_most_the_usable_events(configs, folder) -> None:
    data = batches([folder("a", 5)], configs, batch=128)
    assert sorted(data[0].ids) == sorted(data[1].ids) == [f"e{i}" for i in range(5)]
    assert (data.total_rows, len(data)) == (5, 20)
    with pytest.raises(IndexError):
        data[20]


def test_only_events_and_modalities_of_listed_pairs_are_read(configs, folder) -> None:
    gone = {"touch": None}
    source = folder(
        "a", 12, ("touch", "heat", "words"), rows={0: gone, 1: {"words": None}, 2: {"heat": None, "words": None}}
    )
    pairs = [Pair(["touch", "words"]), Pair(["touch", "heat"])]
    batch = batches([source], configs, pairs, batch=12)[0]
    held = {name: {batch.ids[row] for row in rows.tolist()} for name, rows in batch.rows.items()}
    everything = {f"e{i}" for i in range(1, 12)} - {"e2"}
    assert set(batch.ids) == held["touch"] == everything
    assert held["heat"] == everything
    assert held["words"] == everything - {"e1"}
    assert not {path.name for path, _ in configs["heat"].read_calls} & {"0.npy", "2.npy"}
    only_words = batches([source], configs, [Pair(["touch", "words"])], batch=12)[0]
    assert only_words.rows.keys() == {"touch", "words"}


def test_a_source_trains_only_the_modalities_that_it_lists(configs, folder) -> None:
    source = folder("a", 4, ("touch", "heat", "words"), modalities=["touch", "heat"])
    pairs = [Pair(["touch", "words"]), Pair(["touch", "heat"]), Pair(["heat", "words"])]
    assert batches([source], configs, pairs)[0].rows.keys() == {"touch", "heat"}


def test_one_alternative_is_drawn_by_the_events_seed(configs, folder) -> None:
    rows = {i: {"words": [letter * (i + 1) for letter in "abc"]} for i in range(10)}
    data = batches([folder("a", 10, rows=rows)], configs, batch=10, steps=60)
    letters = Counter(chr(int(x)) for step in range(60) for x in data[step].inputs["words"]["x"][:, 1])
    assert min(letters[letter] for letter in "abc") > 150
    for batch in (data[0], data[1]):
        assert [f"e{int(n) - 1}" for n in batch.inputs["words"]["x"][:, 0]] == batch.ids


def test_a_bad_cell_is_left_out_of_its_modality_and_reported_once(configs, folder) -> None:
    source = folder("a", 6, rows={2: {"touch": "gone.npy"}, 4: {"words": ""}})
    data = batches([source], configs, batch=6)
    first = data[0]
    assert sorted((row.id, row.modality) for row in first.bad) == [("e2", "touch"), ("e4", "words")]
    for batch in (first, data[1]):
        lost = {name: {batch.ids[i] for i in set(range(6)) - set(rows.tolist())} for name, rows in batch.rows.items()}
        assert lost == {"touch": {"e2"}, "words": {"e4"}}
        assert len(batch.inputs["touch"]["x"]) == len(batch.digests["touch"]) == len(batch.rows["touch"]) == 5
        assert [f"e{int(x)}" for x in batch.inputs["touch"]["x"][:, 0]] == [
            batch.ids[i] for i in batch.rows["touch"].tolist()
        ]
    assert data[1].bad == []


def test_a_batch_that_lost_every_sample_is_empty_and_valid(configs, folder) -> None:
    batch = batches([folder("a", 3, rows={i: {"touch": "gone.npy"} for i in range(3)})], configs)[0]
    assert batch.rows.keys() == batch.inputs.keys() == {"words"}
    assert len(batch.bad) == 3


def test_the_seeds_of_what_is_left_stay_those_of_their_events(configs, folder) -> None:
    source = folder("a", 6, columns=("touch", "heat"), rows={2: {"touch": "gone.npy"}})
    batch = batches([source], configs, [Pair(["touch", "heat"])], batch=6)[0]
    seeds = {
        name: dict(zip(batch.rows[name].tolist(), batch.inputs[name]["seeds"].tolist())) for name in ("touch", "heat")
    }
    assert seeds["touch"].items() < seeds["heat"].items()


def cached(source: Source, configs, name: str) -> dict[str, dict[str, torch.Tensor]]:
    """What a cache builder does: the number that a cell holds, as its vector."""
    manifest = Manifest.load(source, [name])
    vectors = torch.full((len(Column(manifest, name, configs[name])), 2), torch.nan)
    for cells, prepared in evaluation_batches(manifest, configs[name], name, 4, Reader()):
        vectors[cells] = prepared["x"][:, :2]
    return {name: {manifest.key: vectors}}


def test_cached_vectors_stand_for_reading_and_keep_seed_pick_and_digests(configs, folder) -> None:
    rows = {i: {"words": [letter * (i + 1) for letter in "abc"[: i % 4]]} for i in range(10)}
    source = folder("a", 10, rows=rows)
    plain = batches([source], configs)
    quick = batches([source], configs, vectors=cached(source, configs, "words"))
    for step in range(10):
        a, b = plain[step], quick[step]
        assert torch.equal(b.vectors["words"], a.inputs["words"]["x"])
        assert b.inputs.keys() == {"touch"}
        assert (a.ids, a.rows["words"].tolist()) == (b.ids, b.rows["words"].tolist())
        assert torch.equal(a.digests["words"], b.digests["words"])


def test_a_cached_modality_is_hashed_but_never_decoded(configs, folder) -> None:
    source = folder("a", 6)
    vectors = cached(source, configs, "touch")
    configs["touch"].read_calls.clear()
    data = batches([source], configs, vectors=vectors)
    assert torch.equal(data[0].vectors["touch"][:, 0], torch.tensor([float(name[1:]) for name in data[0].ids]))
    assert (data[0].digests["touch"].shape, configs["touch"].read_calls) == ((6, 32), [])


def test_a_cell_without_cached_vector_is_left_out_and_reported(configs, folder) -> None:
    source = folder("a", 6, rows={2: {"touch": "gone.npy"}})
    data = batches([source], configs, vectors=cached(source, configs, "touch"))
    batch = data[0]
    assert {batch.ids[row] for row in batch.rows["touch"].tolist()} == {f"e{i}" for i in range(6)} - {"e2"}
    assert not batch.vectors["touch"].isnan().any()
    assert [(row.id, row.reason) for row in batch.bad] == [("e2", "gone.npy: it has no cached vector")]


def test_vectors_of_another_number_of_cells_are_refused(configs, folder) -> None:
    source = folder("a", 6)
    vectors = {"touch": {Manifest.load(source, ["touch"]).key: torch.zeros(5, 2)}}
    with pytest.raises(UserError, match="expected a vector for each of its 6 touch cells, got 5"):
        batches([source], configs, vectors=vectors)


def test_what_cannot_be_trained_on_is_refused_in_a_sentence(configs, folder) -> None:
    source = folder("a", 4, rows={i: {"words" if i % 2 else "touch": None} for i in range(4)})
    with pytest.raises(UserError, match=r"no row of .*manifest\.jsonl holds touch and words: fill both cells in"):
        batches([source], configs)
    with pytest.raises(UserError, match="unknown modality in pair 'touhc-words' 'touhc': did you mean 'touch'"):
        batches([source], configs, [Pair(["touhc", "words"])])
    with pytest.raises(UserError, match=r"list at least one source in data\.train"):
        batches([], configs)
    good = folder("b")
    with pytest.raises(UserError, match=r"weights of sources must not be negative, nor all 0, got \[1.0, -1\]"):
        batches([good, replace(good, weight=-1)], configs)


@pytest.mark.parametrize("of", [["touch"], ["touch", "touch"], ["touch", "heat", "words"]])
def test_a_pair_is_of_two_modalities(configs, folder, of: list[str]) -> None:
    with pytest.raises(UserError, match="expected two different modalities, got"):
        batches([folder()], configs, [Pair(of)])


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_without_events_is_refused(configs, folder, size: int) -> None:
    with pytest.raises(UserError, match=f"the batch of .* is {size}: expected 1 or more"):
        batches([folder(batch=size)], configs)


def test_a_batch_names_the_groups_of_its_events(configs, folder) -> None:
    batch = batches([folder("a", 3, rows={1: {"group": 7}})], configs)[0]
    assert dict(zip(batch.ids, batch.groups)) == {"e0": None, "e1": "7", "e2": None}
    assert batch.to(torch.device("cpu")).groups == batch.groups


def test_augmentation_may_be_given_as_text(configs, folder) -> None:
    assert batches([folder(augment="strong")], configs)[0].ids
    assert configs["touch"].prepare_calls[0][1] == "strong"


def test_an_error_in_prepare_stops_the_run(configs, folder, monkeypatch) -> None:
    def fail(samples: Any, **_: Any) -> None:
        raise RuntimeError("a bug of the plugin")

    monkeypatch.setattr(configs["touch"], "prepare", fail)
    with pytest.raises(RuntimeError, match="a bug of the plugin"):
        batches([folder()], configs)[0]


def test_a_step_with_cached_samples_costs_few_python_calls(configs, folder) -> None:
    """The cost beside `prepare` is counted in calls, which load on the machine does not change."""
    import sys

    data = batches([folder("a", 128)], configs, batch=128)
    data[0]
    calls = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        data[1]
    finally:
        sys.setprofile(None)
    assert calls < 128 * 2 * 12


def test_digests_are_those_of_the_content(configs, folder) -> None:
    data = batches([folder("a", 4)], configs, batch=4)
    reader, manifest = Reader(), data.manifests[0]
    column = Column(manifest, "words", configs["words"])
    reader.identify(column, np.arange(4))
    expected = {row["id"]: reader.digests(column, np.array([i]))[0].tolist() for i, row in enumerate(manifest.rows)}
    assert dict(zip(data[0].ids, data[0].digests["words"].tolist())) == expected

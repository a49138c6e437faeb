import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bindspace.contract.errors import UserError
from bindspace.data import Reader, load_pool


def test_a_pool_holds_the_events_that_hold_all_modalities(configs, folder) -> None:
    source = folder("a", 6, ("touch", "heat", "words"), rows={1: {"heat": None}, 3: {"words": []}})
    pool = load_pool([source], configs)
    assert (pool.ids, pool.left_out, pool.bad) == (["e0", "e2", "e4", "e5"], 2, [])
    assert pool.modalities == ["touch", "heat", "words"]
    assert load_pool([source], configs, ["touch", "heat"]).ids == ["e0", "e2", "e3", "e4", "e5"]


def test_items_are_distinct_contents_and_know_their_events(configs, folder) -> None:
    rows = {0: {"words": ["x", "same"]}, 1: {"words": "same"}, 2: {"touch": "touch/0.npy", "words": ["z", "z"]}}
    pool = load_pool([folder("a", 3, rows=rows)], configs, ["touch", "words"])
    assert pool.events("touch") == [[0, 2], [1]]
    assert pool.events("words") == [[0], [0, 1], [2]]
    assert [item.digest for item in pool.items["words"]] == [
        hashlib.sha256(t.encode()).digest() for t in ("x", "same", "z")
    ]
    assert [pool.shown("words", i) for i in range(3)] == ["x", "same", "z"]


def test_batches_follow_the_items(configs, folder) -> None:
    pool = load_pool([folder("a", 5), folder("b", 4)], configs, ["touch", "words"])
    batches = list(pool.batches("words", 4))
    assert [len(batch["x"]) for batch in batches] == [4, 4, 1]
    assert torch.cat([batch["x"] for batch in batches])[:, 1].tolist() == [ord("a")] * 5 + [ord("b")] * 4
    assert pool.events("touch")[:4] == [[0, 5], [1, 6], [2, 7], [3, 8]]  # equal files in both folders
    assert configs["touch"].prepare_calls == []


def test_equal_bytes_under_other_settings_are_other_items(configs, folder) -> None:
    same = {"touch": "touch/0.npy"}
    rows = {0: same | {"touch.unit": "N"}, 1: same | {"touch.unit": "mN"}, 2: same | {"touch.unit": "N"}}
    pool = load_pool([folder("a", 3, rows=rows)], configs, ["touch"])
    assert pool.events("touch") == [[0, 2], [1]]
    assert pool.items["touch"][0].digest == pool.items["touch"][1].digest


def test_an_event_that_loses_a_side_is_left_out_and_its_bad_cell_listed(configs, folder) -> None:
    rows = {1: {"touch": "gone.npy"}, 2: {"words": ["", "fine"]}, 3: {"words": ""}}
    source = folder("a", 5, rows=rows)
    pool = load_pool([source], configs, ["touch", "words"], max_bad_fraction=0.6)
    assert (pool.ids, pool.left_out) == (["e0", "e2", "e4"], 2)
    assert [(row.id, row.modality) for row in pool.bad] == [("e1", "touch"), ("e2", "words"), ("e3", "words")]
    assert pool.events("words") == [[0], [1], [2]]
    with pytest.raises(
        UserError, match=r"3 of 5 rows cannot be read, and data.max_bad_fraction is 0.01: the first is 'e1'"
    ):
        load_pool([source], configs, ["touch", "words"])


def test_attributes_groups_and_labels_are_by_event(configs, folder) -> None:
    rows = {
        0: {"label": "x", "group": 7, "colour": "red"},
        2: {"colour": "blue", "box": [1, 2]},
        1: {"touch": None, "hue": 3},
    }
    pool = load_pool([folder("a", 3, rows=rows)], configs, ["touch", "words"])
    assert pool.attributes == {"label": ["x", None], "colour": ["red", "blue"]}
    assert pool.groups == ["7", None]


def test_ids_stay_unique_over_sources(configs, folder) -> None:
    pool = load_pool([folder("a", 2), folder("b", 3)], configs, ["touch", "words"])
    assert pool.ids == ["e0", "e1", "e0@2", "e1@2", "e2"]


def test_a_source_without_a_column_is_left_out_and_counted(configs, folder) -> None:
    sources = [folder("a", 2, ("touch", "words")), folder("b", 3, ("touch", "heat", "words"))]
    pool = load_pool(sources, configs, ["touch", "heat"])
    assert (pool.ids, pool.left_out) == (["e0", "e1", "e2"], 2)


def test_samples_are_decoded_once_while_there_is_memory(configs, folder) -> None:
    pool = load_pool([folder("a", 4)], configs, ["touch", "words"])
    list(pool.batches("touch", 2))
    assert len(configs["touch"].read_calls) == 4


def test_a_file_that_vanishes_while_it_is_measured_stops_with_a_sentence(configs, folder) -> None:
    source = folder("a", 4)
    pool = load_pool([source], configs, ["touch", "words"], reader=Reader(0.0))
    (Path(source.path) / "touch" / "2.npy").unlink()
    with pytest.raises(UserError, match=r"a file changed while it was measured: touch/2\.npy: .*; measure again"):
        list(pool.batches("touch", 4))


def test_what_cannot_be_a_pool_is_refused_in_a_sentence(configs, folder) -> None:
    source = folder("a", 4, rows={i: {"words" if i % 2 else "touch": None} for i in range(4)})
    with pytest.raises(UserError, match=r"no event of .*manifest\.jsonl holds all of touch, words: choose fewer"):
        load_pool([source], configs, ["touch", "words"])
    with pytest.raises(UserError, match=r"unknown column 'heat': .*in .*manifest\.jsonl: leave the modality out"):
        load_pool([source], configs, ["touch", "heat"])
    with pytest.raises(UserError, match="unknown modality 'tuch': did you mean 'touch'"):
        load_pool([source], configs, ["tuch"])
    with pytest.raises(UserError, match="expected test data, got none"):
        load_pool([], configs)
    with pytest.raises(UserError, match="is listed twice in one pool"):
        load_pool([source, replace(source)], configs, ["touch"])
    bad = folder("b", 2, rows={i: {"words": ""} for i in range(2)})
    with pytest.raises(UserError, match="the first bad cell: words, expected a word, got none: choose fewer"):
        load_pool([bad], configs, ["touch", "words"], max_bad_fraction=1.0)

import json

import pytest
import torch
from known_vectors import Pool, chain_ledger, digest, make_space

from bindspace.benchmark.emergent import run_benchmark
from bindspace.contract.errors import UserError
from bindspace.ledger.ledger import Ledger
from bindspace.settings.run import BenchmarkSettings

CHAIN = ["sight", "sound", "touch"]
EIGHT = torch.eye(8)


def turned(*wrong):
    """Eight events on the axes; those listed lie where the next one should."""
    rows = EIGHT.clone()
    for i in wrong:
        rows[i] = EIGHT[(i + 1) % 8] + 0.1 * EIGHT[i]
    return rows


def run(pool, space=None, names=None, **options):
    names = names or list(pool.items)
    space = space or make_space(8, names, chain_ledger(names))
    changes = {"permutations": 200, "k": [1, 2], **options.pop("settings", {})}
    return run_benchmark(space, pool, BenchmarkSettings(**changes), progress=False, **options)


def cell_of(report, query, gallery):
    (cell,) = [cell for cell in report["pairs"] if (cell["query"], cell["gallery"]) == (query, gallery)]
    return cell


def test_every_ordered_pair_is_measured_with_every_key_of_schema_1():
    report = run(Pool(dict.fromkeys(CHAIN, EIGHT)))
    assert report["schema"] == 1
    assert [(cell["query"], cell["gallery"]) for cell in report["pairs"]] == [
        (a, b) for a in CHAIN for b in CHAIN if a != b
    ]
    for cell in report["pairs"]:
        assert {"status", "n", "gallery_size", "recall", "ci95", "chance", "shuffled", "p", "p_holm"} <= set(cell)
        assert {"median_rank", "map10", "recall_clean", "overlap", "unpaired_steps", "shaped_by"} <= set(cell)
        assert {"selected_on", "legs"} <= set(cell)
        assert set(cell["recall"]) == set(cell["ci95"]) == set(cell["chance"]) == set(cell["shuffled"]) == {"1", "2"}
    assert set(report) == {"schema", "protocol", "system", "pairs", "zero_shot", "gap", "ledger"}
    assert {"pool", "ties", "seed", "hash"} <= set(report["protocol"])
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_recall_by_hand():
    """Sound 0 and 1 lie with sight 1 and 2, and with their own in second place."""
    report = run(Pool({"sight": EIGHT, "sound": turned(0, 1), "touch": EIGHT}))
    cell = cell_of(report, "sound", "sight")
    assert cell["recall"] == {"1": 6 / 8, "2": 1.0}
    assert cell["chance"] == pytest.approx({"1": 1 / 8, "2": 2 / 8})
    assert (cell["n"], cell["gallery_size"], cell["median_rank"]) == (8, 8, 1.0)
    assert cell["map10"] == pytest.approx((6 + 2 * 0.5) / 8)
    assert cell["ci95"]["1"] == pytest.approx([0.4093, 0.9285], abs=1e-4)  # Wilson, 6 of 8
    assert cell["shuffled95"]["1"][0] <= 1 / 8 <= cell["shuffled95"]["1"][1]


def test_legs_are_the_trained_pairs_on_the_way_in_the_direction_asked():
    report = run(Pool({"sight": EIGHT, "sound": turned(0, 1), "touch": turned(0, 1, 4)}), settings={"k": [1]})
    assert cell_of(report, "sight", "touch")["status"] == "emergent"
    # touch 4 lies with 5 of all others; 0 and 1 agree with sound; sight 2 has two claimants, and 0 none
    recall = {name: cell_of(report, *name.split())["recall"]["1"] for name in ("sight sound", "sound touch")}
    assert cell_of(report, "sight", "touch")["legs"] == [
        [["sight", "sound", recall["sight sound"]], ["sound", "touch", recall["sound touch"]]]
    ]
    back = {name: cell_of(report, *name.split())["recall"]["1"] for name in ("touch sound", "sound sight")}
    assert cell_of(report, "touch", "sight")["legs"] == [
        [["touch", "sound", back["touch sound"]], ["sound", "sight", back["sound sight"]]]
    ]
    assert back == {"touch sound": 7 / 8, "sound sight": 6 / 8}
    assert cell_of(report, "sight", "sound")["legs"] == [[["sight", "sound", recall["sight sound"]]]]


def test_a_leg_through_a_modality_outside_the_pool_is_known_but_not_measured():
    space = make_space(8, CHAIN, chain_ledger(CHAIN))
    report = run(Pool({"sight": EIGHT, "touch": EIGHT}), space)
    assert cell_of(report, "sight", "touch")["legs"] == [[["sight", "sound", None], ["sound", "touch", None]]]


def test_holm_counts_the_pairs_that_were_never_trained():
    report = run(Pool(dict.fromkeys(CHAIN, EIGHT)))
    for cell in report["pairs"]:
        assert cell["p"] == pytest.approx(1 / 201)
        expected = pytest.approx(2 / 201) if cell["status"] == "emergent" else None
        assert cell["p_holm"] == expected
    assert sum(cell["p_holm"] is not None for cell in report["pairs"]) == 2


def test_statuses_are_the_ledgers_and_unknown_without_one():
    pool = Pool(dict.fromkeys(CHAIN, EIGHT))
    assert [cell["status"] for cell in run(pool)["pairs"]] == [
        "trained", "emergent", "trained", "trained", "emergent", "trained"
    ]  # fmt: skip
    for ledger in (None, Ledger.unknown("it was lost")):
        cell = run(pool, make_space(8, CHAIN, ledger))["pairs"][0]
        assert (cell["status"], cell["p_holm"], cell["recall_clean"]) == ("unknown", None, None)
        assert cell["overlap"] == {"query": None, "gallery": None, "pivot": None, "group": None}


def test_a_planted_test_clip_is_counted_and_left_out_of_recall_clean():
    """Sound 3 was in training: its event leaves, and with it the only miss."""
    ledger = chain_ledger(CHAIN)
    ledger.record(("sight", "sound"), "1" * 64, {"sight": [digest("other", 0)], "sound": [digest("sound", 3)]})
    pool = Pool({"sight": EIGHT, "sound": turned(3), "touch": EIGHT})
    report = run(pool, make_space(8, CHAIN, ledger))
    cell = cell_of(report, "sound", "touch")
    assert cell["overlap"] == {"query": 1, "gallery": 0, "pivot": 0, "group": 0}
    assert cell["recall"]["1"] == 7 / 8
    assert (cell["recall_clean"]["1"], cell["clean"]) == (1.0, {"n": 7, "gallery_size": 7})
    untouched = cell_of(report, "sight", "touch")
    assert (untouched["clean"], untouched["recall_clean"]) == ({"n": 8, "gallery_size": 8}, untouched["recall"])


def test_a_value_that_was_met_is_counted_but_stays():
    """Short captions collide honestly."""
    names = ["sight", "sound", "words"]
    ledger = chain_ledger(names)
    ledger.record(("sound", "words"), "1" * 64, {"sound": [digest("other", 0)], "words": [digest("words", 3)]})
    report = run(Pool(dict.fromkeys(names, EIGHT)), make_space(8, names, ledger))
    cell = cell_of(report, "sight", "words")
    assert (cell["overlap"]["gallery"], cell["clean"]["n"]) == (1, 8)


def test_a_group_that_was_in_training_is_counted_and_left_out():
    ledger = chain_ledger(CHAIN)
    ledger.record(("sight", "sound"), "1" * 64, {n: [digest("other", 0)] for n in ("sight", "sound")}, groups=["walk"])
    pool = Pool(dict.fromkeys(CHAIN, EIGHT), groups=["walk", "walk", "run", None, None, None, None, None])
    cell = cell_of(run(pool, make_space(8, CHAIN, ledger)), "sight", "touch")
    assert (cell["overlap"]["group"], cell["clean"]) == (2, {"n": 6, "gallery_size": 6})


def test_several_captions_an_event_are_queries_and_items_of_their_own():
    captions = EIGHT.repeat_interleave(2, 0)
    pool = Pool({"sight": EIGHT, "words": captions}, {"words": [[i // 2] for i in range(16)]})
    report = run(pool, names=["sight", "words"])
    asked, answered = cell_of(report, "words", "sight"), cell_of(report, "sight", "words")
    assert (asked["n"], asked["gallery_size"], answered["n"], answered["gallery_size"]) == (16, 8, 8, 16)
    assert asked["chance"]["1"] == pytest.approx(1 / 8)
    assert answered["chance"]["2"] == pytest.approx(1 - (14 * 13) / (16 * 15))
    assert asked["recall"]["1"] == answered["recall"]["1"] == 1.0
    assert asked["ci95"]["1"] == answered["ci95"]["1"]  # sixteen queries, but eight events


def test_a_content_shared_by_events_answers_for_both():
    shared = Pool({"sight": EIGHT, "words": EIGHT[:7]}, {"words": [[0, 7], *([i] for i in range(1, 7))]})
    report = run(shared, names=["sight", "words"])
    assert cell_of(report, "words", "sight")["n"] == 7
    assert cell_of(report, "words", "sight")["chance"]["1"] == pytest.approx((6 / 8 + 2 / 8) / 7)
    assert cell_of(report, "sight", "words")["recall"]["1"] == 7 / 8


def test_a_group_is_a_cluster_of_the_interval():
    """Forty events in two recordings, a hit in all of one: by event that looks like news, by recording it is not."""
    sound = torch.eye(40)
    sound[20:] = sound[20:].roll(1, 0)
    alone = Pool({"sight": torch.eye(40), "sound": sound})
    grouped = Pool({"sight": torch.eye(40), "sound": sound}, groups=["a"] * 20 + ["b"] * 20)
    space = make_space(40, ["sight", "sound"])
    by_event, by_group = (cell_of(run(pool, space), "sight", "sound")["ci95"]["1"] for pool in (alone, grouped))
    assert by_event[1] - by_event[0] < 0.35
    assert by_group[1] - by_group[0] > 0.7


def test_untrained_and_ceiling_stand_beside_when_asked_for():
    pool = Pool({"sight": EIGHT, "sound": EIGHT, "touch": EIGHT}, attributes={"colour": ["red", "blue"] * 4})
    fresh = make_space(8, CHAIN)
    for name in CHAIN:
        torch.nn.init.normal_(fresh.towers[name].encoder.where)
    report = run(pool, untrained=fresh, known={"sight": ["colour"], "sound": ["colour", "pitch"], "touch": []})
    cell = cell_of(report, "sight", "sound")
    assert cell["untrained"] == cell["recall"]  # identity towers know no training
    assert cell["ceiling"] == pytest.approx({"1": 1 / 4, "2": 2 / 4})  # four of each colour
    assert cell_of(report, "sight", "touch")["ceiling"] == pytest.approx({"1": 1 / 8, "2": 2 / 8})
    assert "untrained" not in run(pool)["pairs"][0]


def test_the_hash_follows_the_pool_and_the_protocol_and_never_the_space():
    def hash_of(pool, space=None, **changes):
        return run(pool, space, settings=changes)["protocol"]["hash"]

    vectors = dict.fromkeys(CHAIN, EIGHT)
    base = hash_of(Pool(vectors))
    assert hash_of(Pool(dict.fromkeys(CHAIN, turned(0)))) == base  # the same contents, otherwise embedded
    assert hash_of(Pool(vectors), make_space(8, CHAIN, Ledger.unknown("lost"))) == base
    renamed, reordered, other = Pool(vectors), Pool(vectors), Pool(vectors)
    renamed.ids[0] = "another"
    reordered.ids.reverse()
    other.items["touch"][0].digest = digest("touch", 99)
    grouped = Pool(vectors, groups=["a"] * 8)
    labelled = Pool(vectors, attributes={"colour": ["red", "blue"] * 4})
    changed = [hash_of(pool) for pool in (renamed, reordered, other, grouped, labelled)]
    changed += [hash_of(Pool(vectors), k=[1, 3]), hash_of(Pool(vectors), templates={"default": ["the {}"]})]
    changed += [hash_of(Pool(vectors), modalities=["sight", "touch"])]
    assert len({base, *changed}) == 1 + len(changed)


def test_zero_shot_and_gap_are_part_of_the_report():
    words = {"red": EIGHT[0].tolist(), "blue": EIGHT[1].tolist()}
    names = ["sight", "words"]
    axes = EIGHT[:2].repeat(4, 1)
    pool = Pool({"sight": axes, "words": axes + 0.1}, attributes={"colour": ["red", "blue"] * 4})
    space = make_space(8, names, chain_ledger(names), words)
    report = run(pool, space, settings={"templates": {"default": ["{}"]}})
    assert [(each["modality"], each["accuracy"]) for each in report["zero_shot"]] == [("sight", 1.0)]
    (gap,) = report["gap"]
    assert gap["pair"] == names
    assert set(gap) >= {"pair", "centroid_distance", "alignment", "uniformity"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_vectors_that_are_not_finite_stop_the_benchmark(bad):
    pool = Pool(dict.fromkeys(CHAIN, EIGHT))
    pool.vectors["sound"][2, 0] = bad
    with pytest.raises(UserError, match="sound: 1 of 8 vectors hold NaN or infinity"):
        run(pool)


def test_what_cannot_be_measured_gets_a_sentence():
    pool = Pool(dict.fromkeys(CHAIN, EIGHT))
    with pytest.raises(
        UserError, match="unknown modality of both the space and the pool 'sigth': did you mean 'sight'"
    ):
        run(pool, settings={"modalities": ["sigth", "sound"]})
    with pytest.raises(UserError, match=r"needs two modalities or more, got \['sight'\]"):
        run(pool, settings={"modalities": ["sight"]})
    empty = Pool(dict.fromkeys(CHAIN, EIGHT))
    empty.ids = []
    with pytest.raises(UserError, match="expected a pool of events that hold every modality, got none"):
        run(empty)
    with pytest.raises(UserError, match=r"benchmark\.k: expected whole numbers from 1 on, got \[0, 5\]"):
        run(pool, settings={"k": [0, 5]})
    with pytest.raises(UserError, match=r"benchmark\.permutations: expected 1 or more, got 0"):
        run(pool, settings={"permutations": 0})

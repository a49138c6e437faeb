import pytest
import torch
from known_vectors import Pool, chain_ledger, make_space
from torch.nn import functional as F

from bindspace.benchmark.emergent import run_benchmark
from bindspace.benchmark.tasks import controls, gap
from bindspace.metrics.retrieval import match, ranks
from bindspace.settings.run import BenchmarkSettings, Control

CHAIN = ["sound", "sight", "touch"]


def own(n):
    return [[i] for i in range(n)]


def unit(n, dim=6, seed=0):
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def report_of(pool, **settings):
    space = make_space(next(iter(pool.vectors.values())).shape[1], CHAIN, chain_ledger(CHAIN))
    settings = {"permutations": 50, "k": [1, 2], **settings}
    return run_benchmark(space, pool, BenchmarkSettings(**settings), progress=False)


def test_within_a_label_recall_is_the_mean_over_the_other_events_of_that_label():
    query, gallery = unit(6, seed=1), unit(6, seed=2)
    labels = ["a", "a", "a", "b", "b", None]
    found = controls.within_label(query, gallery, own(6), own(6), {"kind": labels}, [1, 3])["kind"]
    similarity = query @ gallery.T  # once: alone, a vector may round otherwise, and not tie with itself
    for k in (1, 3):
        shares = []
        for i, label in enumerate(labels):
            others = [j for j in range(6) if j != i and label is not None and labels[j] == label]
            rank = [int((similarity[i] >= similarity[i, j]).sum()) for j in others]
            shares += [sum(r <= k for r in rank) / len(rank)] if rank else []
        assert found[str(k)] == pytest.approx(sum(shares) / len(shares))


def test_a_space_that_knows_the_label_alone_scores_alike_within_it():
    sight = torch.eye(2).repeat_interleave(4, 0) + 1e-3 * unit(8, 2)
    labels = ["a"] * 4 + ["b"] * 4
    found = controls.within_label(sight, torch.eye(2).repeat_interleave(4, 0), own(8), own(8), {"kind": labels}, [4])[
        "kind"
    ]
    assert found["4"] == 1.0


def test_two_hops_go_by_the_nearest_pivot_of_another_event():
    query, pivot, gallery = unit(7, seed=1), unit(7, seed=2), unit(7, seed=3)
    found = controls.two_hop((query, own(7)), (pivot, own(7)), (gallery, own(7)), [2])
    by_way = [max((j for j in range(7) if j != i), key=lambda j, i=i: float(query[i] @ pivot[j])) for i in range(7)]
    rank = ranks(pivot[by_way], gallery, match(own(7), own(7)))
    assert found["2"] == float((rank <= 2).double().mean())


def test_a_stand_in_is_the_item_whose_number_is_nearest():
    gallery = torch.eye(4)
    cue = torch.tensor([1.0, 1.1, 5.0, 5.2])  # 0 and 1 stand for each other, and 2 and 3
    query = torch.stack([gallery[1], gallery[0], gallery[2], gallery[3]])
    found = controls.stand_in(cue, query, own(4), gallery, own(4), [1])
    assert found["1"] == 0.5  # the wrong vectors of 0 and 1 are right for one another


def test_a_report_holds_the_controls_asked_for_only():
    pool = Pool({name: unit(12, seed=seed) for seed, name in enumerate(CHAIN)}, attributes={"kind": ["a", "b"] * 6})
    assert "controls" not in report_of(pool)
    rows = report_of(pool, controls=[Control.within_label, Control.two_hop])["controls"]
    assert sum(row["control"] == "within_label" for row in rows) == 6
    hops = [(row["query"], row["gallery"]) for row in rows if row["control"] == "two_hop"]
    assert hops == [("sight", "touch"), ("touch", "sight")]  # the pivot of this space is `sound`


def test_two_modalities_together_find_what_neither_finds_alone():
    """Sound tells the row and touch the column of a 3 x 3 board; sight sees both."""
    row, column = torch.eye(3).repeat_interleave(3, 0), torch.eye(3).repeat(3, 1)
    nothing = torch.zeros(9, 3)
    pool = Pool(
        {
            "sound": torch.cat([row, nothing], 1),
            "touch": torch.cat([nothing, column], 1),
            "sight": torch.cat([row, column], 1),
        }
    )
    cells = report_of(pool, composed=True, k=[1])["composed"]
    (cell,) = [each for each in cells if each["gallery"] == "sight"]
    assert (cell["query"], cell["n"], cell["recall"]) == (["sound", "touch"], 9, {"1": 1.0})
    assert cell["alone"] == [{"1": 0.0}, {"1": 0.0}]  # three squares tie, and ties stand against the space


def test_a_gap_that_centring_closes_is_reported_and_not_applied():
    sight = unit(40, 8, seed=5)
    touch = F.normalize(sight + 3 * F.normalize(torch.ones(8), dim=0), dim=1)
    found = report_of(Pool({"sight": sight, "touch": touch, "sound": sight}))
    (cell,) = [each for each in found["gap"] if each["pair"] == ["sight", "touch"]]
    (pair,) = [each for each in found["pairs"] if (each["query"], each["gallery"]) == ("sight", "touch")]
    assert cell["own_neighbours"] > 0.8
    assert cell["own_by_chance"] == pytest.approx(2 * 40 * 39 / (80 * 79))
    assert cell["centred"][0]["1"] > pair["recall"]["1"]
    back = next(each for each in found["pairs"] if (each["query"], each["gallery"]) == ("touch", "sight"))
    assert cell["asymmetry"]["1"] == pytest.approx(pair["recall"]["1"] - back["recall"]["1"])


def test_clouds_that_mix_have_neighbours_of_both():
    both = unit(400, 4, seed=3)
    assert gap.own_share(both[:200], both[200:]) == pytest.approx(199 / 399, abs=0.05)


def test_slices_and_probes_stand_in_the_report_when_asked_for():
    pool = Pool({name: unit(40, seed=seed) for seed, name in enumerate(CHAIN)}, attributes={"kind": ["a", "b"] * 20})
    found = report_of(pool, slices=["kind"], shots=[1, 0])
    assert {(row["query"], row["gallery"], row["value"]) for row in found["slices"]} >= {("sight", "touch", "a")}
    assert sum(row["n"] for row in found["slices"]) == 6 * 40
    assert [(row["modality"], row["shots"]) for row in found["probes"]] == [(n, s) for n in CHAIN for s in (1, 0)]

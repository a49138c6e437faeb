from functools import cache

import pytest
import torch
from torch.nn import functional as F

from bindspace.metrics import permutation
from bindspace.metrics.permutation import Permutations, pairing_test
from bindspace.metrics.retrieval import chance, match, ranks, recall

K = [1, 5, 10]


def unit(*shape, seed):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def slowly(query, gallery, query_events, gallery_events, drawn):
    """Recall of each permutation by ranking anew with the events renamed."""
    found = []
    for names in drawn.tolist():
        renamed = [[names[event] for event in each] for each in query_events]
        rank = ranks(query, gallery, match(renamed, gallery_events))
        found.append([recall(rank, k) for k in K])
    return torch.tensor(found, dtype=torch.float64)


POOLS = {
    "one item an event": ([[i] for i in range(40)], [[i] for i in range(40)]),
    "five captions an event": ([[i] for i in range(40)], [[i // 5] for i in range(200)]),
    "five queries an event": ([[i // 5] for i in range(200)], [[i] for i in range(40)]),
    "contents shared by events": ([[i, (i * 7 + 1) % 40] for i in range(40)], [[2 * i, 2 * i + 1] for i in range(20)]),
}


@pytest.mark.parametrize("name", POOLS)
def test_it_equals_ranking_every_permutation_anew(name, monkeypatch):
    monkeypatch.setattr(permutation, "TILE", 17)
    monkeypatch.setattr(permutation, "CELLS", 500)
    query_events, gallery_events = POOLS[name]
    events = 1 + max(e for each in query_events + gallery_events for e in each)
    gallery_events = gallery_events + [[e] for e in range(events) if not any(e in each for each in gallery_events)]
    base = unit(events, 6, seed=0)
    query = torch.stack([base[each].mean(0) for each in query_events]) + 0.3 * unit(len(query_events), 6, seed=1)
    gallery = torch.stack([base[each].mean(0) for each in gallery_events]) + 0.3 * unit(len(gallery_events), 6, seed=2)
    drawn = Permutations(60, seed=5).of(events)
    expected = slowly(query, gallery, query_events, gallery_events, drawn)
    true = slowly(query, gallery, query_events, gallery_events, torch.arange(events).unsqueeze(0))[0]
    found = pairing_test(query, gallery, query_events, gallery_events, K, Permutations(60, seed=5))
    for column, k in enumerate(K):
        assert found.mean[k] == pytest.approx(float(expected[:, column].mean()), abs=1e-12)
        assert found.p[k] == pytest.approx((1 + int((expected[:, column] >= true[column]).sum())) / 61, abs=1e-12)


def test_exact_ties_count_against_the_permuted_pairing_too():
    """A space of four points only: the fast count must agree with ranks where nearly everything ties."""
    corners = torch.eye(4)[torch.arange(40) % 4]
    events, captions = [[i] for i in range(40)], [[i // 2] for i in range(80)]
    drawn = Permutations(50, seed=1)
    for gallery, gallery_events in ((corners, events), (corners.repeat_interleave(2, 0), captions)):
        found = pairing_test(corners, gallery, events, gallery_events, [1, 11, 21], drawn)
        for k in (1, 11, 21):
            expected = []
            for names in drawn.of(40).tolist():
                rank = ranks(corners, gallery, match([[names[i]] for i in range(40)], gallery_events))
                expected.append(recall(rank, k))
            assert found.mean[k] == pytest.approx(sum(expected) / 50, abs=1e-12)


def test_shuffled_sits_on_chance_however_good_the_space_is():
    vectors, events = unit(300, 32, seed=0), [[i] for i in range(300)]
    found = pairing_test(vectors, vectors + 0.1 * unit(300, 32, seed=1), events, events, K, Permutations(4000, 0))
    for k in K:
        assert found.mean[k] == pytest.approx(chance(match(events, events), 300, k), rel=0.02)
        assert found.central95[k][0] <= chance(match(events, events), 300, k) <= found.central95[k][1]
        assert found.p[k] == 1 / 4001


@pytest.mark.parametrize("level", [0.05, 0.2, 0.5, 0.8])
def test_p_is_uniform_where_nothing_is_paired(level):
    """Over 200 spaces without any pairing; hits are whole numbers, so that p is uniform but for the weight of one."""
    spread = 3.3 * (level * (1 - level) / 200) ** 0.5
    below = float((unpaired_p() <= level).double().mean())
    assert level - spread - min(level, 0.1) <= below <= level + spread


@cache
def unpaired_p():
    events, drawn = [[i] for i in range(100)], Permutations(200, seed=0)
    spaces = [(unit(100, 8, seed=2 * i), unit(100, 8, seed=2 * i + 1)) for i in range(200)]
    return torch.tensor([pairing_test(a, b, events, events, [50], drawn).p[50] for a, b in spaces])


def test_permutations_come_from_the_seed_and_are_permutations():
    drawn = Permutations(30, seed=4).of(50)
    assert torch.equal(drawn, Permutations(30, seed=4).of(50))
    assert not torch.equal(drawn, Permutations(30, seed=5).of(50))
    assert torch.equal(drawn.sort(1).values, torch.arange(50, dtype=torch.int32).expand(30, 50))


def test_a_pool_too_large_for_all_permutations_says_how_many_it_had(monkeypatch):
    monkeypatch.setattr(permutation, "STORED", 1000)
    events, vectors = [[i] for i in range(50)], unit(50, 8, seed=0)
    found = pairing_test(vectors, vectors, events, events, K, Permutations(10_000, 0))
    assert (found.permutations, found.p[10]) == (20, 1 / 21)

import itertools
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_recall

from bindspace.metrics import retrieval
from bindspace.metrics.retrieval import (
    chance,
    match,
    mean_average_precision,
    median_rank,
    positions,
    positions_both_ways,
    ranks,
    recall,
)


@st.composite
def pools(draw):
    """Small integers as vectors, so that ties and duplicates abound; items and events share each other in many ways."""
    events, dim = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    vector = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    sides = []
    for _ in range(2):
        owned = [[event] for event in range(events)]  # a matched pool: each event has an item on each side
        owned += draw(st.lists(st.lists(st.integers(0, events - 1), min_size=1, unique=True), max_size=6))
        owned = draw(st.permutations(owned))
        sides += [draw(st.lists(vector, min_size=len(owned), max_size=len(owned))), owned]
    return sides


def brute_force(query, query_events, gallery, gallery_events):
    """Where each positive stands, best first, by the definition and in plain loops, ties against it."""
    found = []
    for vector, events in zip(query, query_events):
        score = [float(np.float32(sum(float(x) * float(y) for x, y in zip(vector, other)))) for other in gallery]
        positive = [bool(set(events) & set(others)) for others in gallery_events]
        best_first = sorted((score[j] for j in range(len(gallery)) if positive[j]), reverse=True)
        others = [score[j] for j in range(len(gallery)) if not positive[j]]
        found.append([r + 1 + sum(other >= mine for other in others) for r, mine in enumerate(best_first)])
    return found


def average_precision(places, depth=10):
    return sum((r + 1) / place for r, place in enumerate(places) if place <= depth) / min(len(places), depth)


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(1, 4), st.integers(1, 4))
def test_ranks_and_precision_equal_brute_force_with_ties_duplicates_and_several_positives(pool, tile_n, tile_m):
    query, query_events, gallery, gallery_events = pool
    expected = brute_force(query, query_events, gallery, gallery_events)
    with pytest.MonkeyPatch.context() as patch:  # tiles smaller than the pool, so that their edges are met
        patch.setattr(retrieval, "TILE_N", tile_n)
        patch.setattr(retrieval, "TILE_M", tile_m)
        positives = match(query_events, gallery_events)
        found = positions(torch.tensor(query).float(), torch.tensor(gallery).float(), positives)
        first = ranks(torch.tensor(query).float(), torch.tensor(gallery).float(), positives)
    assert [[place for place in row if place] for row in found.tolist()] == [places[:10] for places in expected]
    assert first.tolist() == [places[0] for places in expected]
    precision = sum(map(average_precision, expected)) / len(expected)
    assert mean_average_precision(found, positives) == pytest.approx(precision, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(pools())
def test_a_match_is_a_shared_event(pool):
    _, query_events, _, gallery_events = pool
    positives = match(query_events, gallery_events)
    expected = [
        (i, j)
        for (i, mine), (j, theirs) in itertools.product(enumerate(query_events), enumerate(gallery_events))
        if set(mine) & set(theirs)
    ]
    assert list(zip(positives.query_P.tolist(), positives.gallery_P.tolist())) == expected
    assert positives.count_N.tolist() == [sum(i == query for i, _ in expected) for query in range(len(query_events))]


@st.composite
def crowds(draw):
    """Unit vectors round a few centres, nearer each other than float32 products can tell apart, some of them equal."""
    rows, dim, centres = draw(st.integers(1, 24)), draw(st.integers(1, 48)), draw(st.integers(1, 4))
    spread = draw(st.sampled_from([0.0, 1e-8, 1e-6, 1e-3, 1.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    centre = torch.randn(centres, dim, generator=generator)
    sides = []
    for _ in range(2):
        which = torch.randint(0, centres, (rows,), generator=generator)
        noise = torch.randn(rows, dim, generator=generator)
        sides.append(torch.nn.functional.normalize(centre[which] + spread * noise, dim=1))
    return *sides, draw(st.integers(1, rows))


def by_the_definition(query, gallery, query_events, gallery_events, keep):
    """The whole matrix in float64, rounded to float32 once; a position is 1 + its place + others at least as good."""
    score = (query.double() @ gallery.double().T).float()
    positive = torch.tensor([[bool(set(mine) & set(other)) for other in gallery_events] for mine in query_events])
    best = score.masked_fill(~positive, -torch.inf).topk(min(keep, int(positive.sum(1).max())), dim=1).values
    others = score.masked_fill(positive, -torch.inf)
    counted = torch.stack([(others >= column[:, None]).sum(1) for column in best.T], 1)
    return torch.where(best.isinf(), 0, counted + torch.arange(1, best.shape[1] + 1))


@settings(max_examples=40, deadline=None)
@given(crowds(), st.integers(5, 11), st.integers(5, 11))
def test_positions_are_those_of_the_whole_matrix_in_float64(crowd, tile_n, tile_m):
    a, b, events = crowd
    owned = [[i % events] for i in range(len(a))]
    forth, back = match(owned, owned), match(owned, owned)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "TILE_N", tile_n)
        patch.setattr(retrieval, "TILE_M", tile_m)
        found = positions_both_ways(a, b, forth, back, keep=3)
        single = positions(b, a, back, keep=3)
    assert torch.equal(found[0], by_the_definition(a, b, owned, owned, 3))
    assert torch.equal(found[1], by_the_definition(b, a, owned, owned, 3))
    assert torch.equal(found[1], single)


def test_a_float32_product_errs_less_than_the_bound_says():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(300, 512, generator=generator).abs(), dim=1) for _ in range(2))
    error = ((a @ b.T).double() - a.double() @ b.double().T).abs()
    bound = retrieval._float32_error(a, b)
    assert (error < bound[:, None]).all()
    assert bound.max() < 4e-5


def test_a_query_without_a_positive_is_refused():
    with pytest.raises(ValueError, match="query 1 shares no event"):
        match([[0], [7]], [[0]])


def test_real_vectors_rank_as_in_float64_loops():
    generator = torch.Generator().manual_seed(0)
    query, gallery = torch.randn(30, 16, generator=generator), torch.randn(45, 16, generator=generator)
    query, gallery = torch.nn.functional.normalize(query), torch.nn.functional.normalize(gallery)
    events = [[i % 30] for i in range(45)]
    found = ranks(query, gallery, match([[i] for i in range(30)], events))
    expected = brute_force(query.tolist(), [[i] for i in range(30)], gallery.tolist(), events)
    assert found.tolist() == [places[0] for places in expected]


def test_a_collapsed_encoder_ranks_last_at_any_place_in_a_tile():
    """Equal vectors tie exactly, although a matrix product may round its edge columns otherwise."""
    one = torch.nn.functional.normalize(torch.randn(1, 37, generator=torch.Generator().manual_seed(3)))
    events = [[i] for i in range(1031)]
    assert ranks(one.repeat(1031, 1), one.repeat(1031, 1), match(events, events)).unique().tolist() == [1031]


def test_tiles_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    query, gallery = torch.randn(70, 8, generator=generator), torch.randn(90, 8, generator=generator)
    positives = match([[i] for i in range(70)], [[i % 70] for i in range(90)])
    whole = positions(query, gallery, positives)
    monkeypatch.setattr(retrieval, "TILE_N", 13)
    monkeypatch.setattr(retrieval, "TILE_M", 17)
    assert torch.equal(whole, positions(query, gallery, positives))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_vectors_that_are_not_finite_cannot_win(bad):
    vectors = torch.eye(3)
    vectors[1, 1] = bad
    with pytest.raises(ValueError, match="expected finite gallery vectors"):
        ranks(torch.eye(3), vectors, match([[0], [1], [2]], [[0], [1], [2]]))


@pytest.mark.parametrize("k", [1, 5, 10])
def test_recall_agrees_with_torchmetrics_where_the_definitions_meet(k):
    generator = torch.Generator().manual_seed(k)
    query, gallery = torch.randn(40, 8, generator=generator), torch.randn(80, 8, generator=generator)
    single, double = [[i] for i in range(40)], [[i % 40] for i in range(80)]
    hit = ranks(query, gallery, match(single, double)) <= k
    for i in range(40):  # the second gallery half doubles the events: any of two positives
        target = torch.tensor([event == [i] for event in double])
        assert retrieval_hit_rate(gallery @ query[i], target, top_k=k) == float(hit[i])
    first = ranks(query, gallery[:40], match(single, single))  # one positive: recall is the hit rate
    theirs = [
        retrieval_recall(gallery[:40] @ query[i], torch.tensor([j == i for j in range(40)]), top_k=k) for i in range(40)
    ]
    assert recall(first, k) == pytest.approx(float(torch.stack(theirs).mean()), abs=1e-6)


def test_chance_is_the_share_of_draws_that_hold_a_positive():
    positives = match([[0], [1], [2]], [[0], [0], [0], [1], [1, 2], [3], [4]])
    assert positives.count_N.tolist() == [3, 2, 1]
    expected = sum(1 - math.comb(7 - c, 2) / math.comb(7, 2) for c in (3, 2, 1)) / 3
    assert chance(positives, 7, 2) == pytest.approx(expected, abs=1e-12)
    assert chance(positives, 7, 7) == 1.0
    assert chance(positives, 7, 100) == 1.0


def test_chance_is_what_random_vectors_reach():
    draw = random.Random(0)
    events = [[i // 3] for i in range(60)]
    positives = match(events, events)
    hits = [sum(event == [0] for event in draw.sample(events, 5)) > 0 for _ in range(20_000)]
    assert chance(positives, 60, 5) == pytest.approx(sum(hits) / len(hits), abs=0.012)


def test_median_rank_of_an_even_number_lies_between_the_middle_two():
    assert median_rank(torch.tensor([9, 1, 4, 2])) == 3.0
    assert median_rank(torch.tensor([9, 1, 4])) == 4.0

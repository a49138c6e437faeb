"""The ceiling from shared attributes, and the gap between modalities."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from bindspace.benchmark.tasks.ceiling import attribute_ceiling
from bindspace.benchmark.tasks.gap import alignment, centroid_distance, uniformity
from bindspace.metrics.retrieval import chance, match


def events(n):
    return [[i] for i in range(n)]


def test_a_ceiling_without_shared_attributes_is_chance():
    captions = [[i // 3] for i in range(30)]
    found = attribute_ceiling(events(10), captions, [], [1, 5, 10])
    assert found == pytest.approx({k: chance(match(events(10), captions), 30, k) for k in (1, 5, 10)})


def test_a_ceiling_by_hand():
    """a b a c: two events share `a`, so each of them is found first in one of two cases."""
    assert attribute_ceiling(events(4), events(4), [["a", "b", "a", "c"]], [1, 2]) == {1: 0.75, 2: 1.0}


def test_two_attributes_that_tell_all_events_apart_allow_everything():
    columns = [["a", "a", "b", "b"], ["x", "y", "x", "y"]]
    assert attribute_ceiling(events(4), events(4), columns, [1]) == {1: 1.0}


def test_an_unknown_value_agrees_with_nothing():
    """Event 2 is unknown: it ties with the whole gallery, the others find themselves."""
    assert attribute_ceiling(events(3), events(3), [["a", "b", None]], [1, 2, 3]) == pytest.approx(
        {1: (1 + 1 + 1 / 3) / 3, 2: (1 + 1 + 2 / 3) / 3, 3: 1.0}
    )


def test_a_ceiling_is_the_mean_over_all_orders_of_the_tied():
    captions = [[0], [0], [1], [2], [3]]
    column = ["a", "a", "a", "b"]
    agree = {j: column[events_[0]] == "a" for j, events_ in enumerate(captions)}
    orders = list(itertools.permutations(range(5)))
    expected = 0.0
    for query in range(4):
        same = [j for j in agree if column[captions[j][0]] == column[query]]
        hits = 0
        for order in orders:
            ranked = [j for j in order if j in same] + [j for j in order if j not in same]
            hits += any(captions[j] == [query] for j in ranked[:2])
        expected += hits / len(orders) / 4
    assert attribute_ceiling(events(4), captions, [column], [2])[2] == pytest.approx(expected)


def test_the_gap_of_opposite_points_is_two():
    a = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    assert centroid_distance(a, -a) == 2.0
    assert alignment(a, -a, match(events(4), events(4))) == 4.0
    assert alignment(a, a, match(events(4), events(4))) == 0.0


def test_uniformity_by_hand():
    """Two opposite points: distance 2, so log exp(-2 * 4); equal points: 0; one point has no pair."""
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8.0)
    assert uniformity(torch.tensor([[1.0, 0.0]]).repeat(5, 1)) == pytest.approx(0.0, abs=1e-9)
    assert uniformity(torch.tensor([[1.0, 0.0]])) is None


def test_uniformity_equals_its_definition():
    vectors = F.normalize(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), dim=1).double()
    terms = [math.exp(-2 * float((x - y).square().sum())) for x, y in itertools.combinations(vectors, 2)]
    assert uniformity(vectors) == pytest.approx(math.log(sum(terms) / len(terms)), abs=1e-9)

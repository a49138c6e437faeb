import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bindspace.benchmark.galleries import by_size, recall_any, recall_at_size, slices


def by_enumeration(rank, gallery, size, k):
    """Every gallery of that size that holds the one right answer."""
    others = range(gallery - 1)  # the first rank - 1 of them stand before the right answer
    drawn = list(itertools.combinations(others, size - 1))
    return sum(sum(other < rank - 1 for other in each) < k for each in drawn) / len(drawn)


@given(st.integers(1, 8), st.integers(2, 8), st.integers(1, 4))
def test_recall_in_a_smaller_gallery_is_that_of_all_galleries_of_that_size(rank, size, k):
    expected = by_enumeration(rank, 8, size, k)
    assert recall_at_size(torch.tensor([rank]), torch.tensor([1]), 8, size, k) == pytest.approx(expected, abs=1e-9)


def test_the_whole_gallery_gives_the_recall_itself_and_larger_ones_are_left_out():
    rank, one = torch.tensor([1, 2, 5, 30]), torch.ones(4, dtype=torch.int64)
    assert recall_at_size(rank, one, 40, 40, 5) == pytest.approx(0.75)
    found = by_size(rank, one, 40, [10, 40, 100], [1, 5, 10])
    assert list(found) == ["10"]
    assert list(found["10"]) == ["1", "5"]  # ten of ten would say nothing
    assert found["10"]["1"] > 0.25


def test_an_event_is_found_by_any_of_its_captions_and_by_each():
    events = [[0], [0], [1], [1]]
    rank = torch.tensor([1, 9, 9, 2])
    assert recall_any(rank, events, [1, 5]) == {"1": 0.5, "5": 1.0}
    assert recall_any(torch.tensor([1, 9]), [[0], [1]], [1]) is None


def test_a_slice_holds_the_queries_of_its_value_on_the_whole_gallery():
    rank, events = torch.tensor([1, 20, 1, 1]), [[0], [1], [2], [3]]
    columns = {"colour": ["red", "red", "blue", None]}
    found = slices(rank, torch.arange(4), events, columns, 10, 0)
    assert [(each["value"], each["n"], each["recall"]) for each in found] == [("blue", 1, 1.0), ("red", 2, 0.5)]
    assert found[1]["ci95"][0] < 0.5 < found[1]["ci95"][1]

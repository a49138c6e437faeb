"""Clips and trunks over time."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bindspace.contract.errors import UserError
from bindspace.io.sequences import (
    Block,
    ConvOverTime,
    Transformer,
    cut_clips,
    masked_mean,
    pad_rows,
    segment_mean,
    windows,
)


@given(total=st.integers(1, 5000), length=st.integers(1, 1000), clips=st.integers(1, 9))
def test_clips_of_evaluation_lie_inside_and_reach_from_end_to_end(total, length, clips):
    starts = windows(total, length, clips, None)
    assert starts == sorted(set(starts))
    assert len(starts) <= clips
    assert all(0 <= start <= max(0, total - length) for start in starts)
    if len(starts) > 1:
        assert (starts[0], starts[-1]) == (0, total - length)
    if clips * length >= total:  # enough of them: nothing is left out
        assert all(b - a <= length for a, b in pairwise(starts))
        assert len(starts) > 1 or total <= length


@given(total=st.integers(1, 5000), length=st.integers(1, 1000), seed=st.integers(0, 2**63))
def test_a_crop_of_training_is_one_clip_inside(total, length, seed):
    (start,) = windows(total, length, 3, seed)
    assert 0 <= start <= max(0, total - length)
    assert windows(total, length, 3, seed) == [start]


def test_signals_of_one_event_are_cut_at_the_same_place():
    for seed in range(20):
        slow, fast = windows(1000, 200, 1, seed)[0], windows(160_000, 32_000, 1, seed)[0]
        assert abs(slow / 100 - fast / 16_000) < 0.011


def test_the_middle_is_taken_where_one_clip_is_allowed():
    assert windows(100, 20, 1, None) == [40]


def test_clips_know_their_owner_only_where_there_are_several():
    signals = [np.arange(3), np.arange(10)]
    rows, owner = cut_clips(signals, 4, 9, None)
    assert [row.tolist() for row in rows] == [[0, 1, 2], [0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert owner["owner"].tolist() == [0, 1, 1, 1]
    assert cut_clips(signals, 10, 9, None)[1] == {}


def test_rows_are_padded_with_zeros():
    rows, lengths = pad_rows([np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)])
    assert rows.shape == (2, 4, 3)
    assert rows.sum(dim=(1, 2)).tolist() == [6, 12]
    assert lengths.tolist() == [2, 4]


def test_segments_are_equal_shares_of_the_own_length():
    x = torch.arange(1.0, 9).expand(3, 1, 1, 8)
    means = segment_mean(x, torch.tensor([8, 4, 1]), 4)[:, 0, 0]
    assert means.tolist() == [[1.5, 3.5, 5.5, 7.5], [1, 2, 3, 4], [1, 1, 1, 1]]
    torch.testing.assert_close(
        segment_mean(x, torch.tensor([8, 6, 3]), 4)[1, 0, 0, 0], torch.tensor((1 + 0.5 * 2) / 1.5)
    )


def test_the_masked_mean_leaves_padding_out():
    x = torch.tensor([[[1.0], [3.0], [99.0]]])
    assert masked_mean(x, torch.tensor([[True, True, False]])).item() == 2


def test_a_block_begins_as_the_identity():
    x = torch.randn(2, 5, 16)
    assert torch.equal(Block(16, 2)(x, torch.ones(2, 5, dtype=torch.bool)), x)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="splits its width among its heads, got width 16 for 3 heads"):
        Transformer(16, 1, 3, 8)


@pytest.mark.parametrize(("stem", "kernel", "height"), [((4, 4), (3, 3), 32), ((1, 3), (1, 3), 1)])
@torch.no_grad()
def test_a_cnn_over_time_does_not_see_what_lies_behind_the_end(stem, kernel, height):
    torch.manual_seed(0)
    cnn = ConvOverTime(2, (8, 12, 16), stem, 5, kernel=kernel, cells=(min(4, height), 4), depth=2).eval()
    x = torch.randn(1, 2, height, 80)
    for length in (1, 2, 13, 40, 79):
        exact = cnn(x[..., :length])
        torch.testing.assert_close(cnn(x, torch.tensor([length])), exact, rtol=0, atol=1e-5)

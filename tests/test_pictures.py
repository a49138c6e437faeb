"""Geometry that modalities of one event share, and the numbers it is drawn from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindspace.contract.errors import UserError
from bindspace.io.pictures import coloured, resample, uniforms, views


def test_uniforms_are_a_pure_function_of_seed_and_stream() -> None:
    seeds = [0, 1, 2**63, -5, 2**64 + 1]
    values = uniforms(seeds, 3, stream=1)
    assert values.shape == (5, 3)
    np.testing.assert_array_equal(values[3:4], uniforms([-5], 3, stream=1))
    np.testing.assert_array_equal(values[1], values[4])  # seeds are taken modulo 2 ** 64
    assert not np.isin(values, uniforms(seeds, 3, stream=0)).any()


def test_uniforms_of_consecutive_seeds_are_uniform_and_unrelated() -> None:
    values = uniforms(range(20000), 4, stream=0)
    assert values.min() >= 0
    assert values.max() < 1
    np.testing.assert_allclose(values.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(values.var(0), 1 / 12, atol=0.003)
    both = np.concatenate([values[1:], values[:-1]], axis=1)
    np.testing.assert_allclose(np.corrcoef(both.T), np.eye(8), atol=0.03)


@given(seed=st.integers(0, 2**64 - 1))
def test_views_stay_within_what_the_augmentation_promises(seed: int) -> None:
    left, top, width, height = views([seed], "weak", 1)[0]
    assert (width, height) == (1, 1)
    assert max(abs(left), abs(top)) <= 0.05
    left, top, width, height = views([seed], "strong", 1)[0]
    assert 0 <= left <= left + width <= 1 + 1e-12
    assert 0 <= top <= top + height <= 1 + 1e-12
    assert 0.49 <= width * height <= 1
    assert 0.74 <= width / height <= 1.34


def test_an_unknown_augmentation_is_answered_with_the_choices() -> None:
    with pytest.raises(
        UserError, match=r"unknown augment 'week': did you mean 'weak'\? \(available: none, strong, weak\)"
    ):
        views([1], "week", 1)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), augment=st.sampled_from(["none", "weak", "strong"]), smooth=st.booleans())
def test_resampling_a_ramp_shows_where_the_box_lies(seed: int, augment: str, smooth: bool) -> None:
    y, x = np.mgrid[0:90, 0:120].astype(np.float32) + 0.5
    boxes = views([seed], augment, 1)
    left, top, width, height = boxes[0] * 90 + [15, 0, 0, 0]
    across, down = (resample([ramp], boxes, 30, smooth=smooth)[0] for ramp in (x, y))
    places = (np.arange(30) + 0.5) / 30
    inner = slice(3, -3)  # at the border a shifted box shows the edge, and averages end
    np.testing.assert_allclose(across[15, inner], left + width * places[inner], atol=0.1 if smooth else 0.51)
    np.testing.assert_allclose(down[inner, 15], top + height * places[inner], atol=0.1 if smooth else 0.51)


def test_a_picture_of_the_right_height_is_cut_not_blurred() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resample([noise], views(None, "weak", 1), 16, smooth=True)[0], noise[:, 12:28])


def test_a_map_is_coloured_from_dark_to_light_and_grey_where_unknown() -> None:
    shown = np.asarray(coloured(np.array([[-1, 0, 0.5, 1, 2, np.nan]]), 0, 1))[0].astype(int)
    assert shown[0].tolist() == shown[1].tolist() == [8, 10, 60]
    assert shown[3].tolist() == shown[4].tolist() == [252, 250, 190]
    assert shown[5].tolist() == [128, 128, 128]
    assert shown[1].sum() < shown[2].sum() < shown[3].sum()

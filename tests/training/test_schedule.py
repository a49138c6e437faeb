"""Stages against pairs and sources, and the learning rate within one."""

from dataclasses import replace

import pytest

from bindspace.contract.errors import UserError
from bindspace.settings.run import Pair, StageSettings
from bindspace.training.stages import resolve, warmup_cosine

STAR = [Pair(["image", "text"]), Pair(["image", "audio"]), Pair(["image", "depth"])]
PIVOT_FIRST = [StageSettings("pivot", 600, ["image-text"]), StageSettings("bind", 300, ["rest"], ["done"])]
HOLDS = [{"image", "text"}, {"image", "audio"}, {"image", "depth"}]


def test_the_pivot_comes_first_and_then_stands_still_for_the_rest():
    pivot, bind = resolve(PIVOT_FIRST, STAR, "image", HOLDS, [1.0, 1.0, 0.6])
    assert (pivot.steps, pivot.freeze, pivot.sources) == (600, [], [0])
    assert [pair.of for pair in bind.pairs] == [["image", "audio"], ["image", "depth"]]
    assert (bind.freeze, bind.sources) == (["image"], [1, 2])
    assert bind.steps == 480  # 300 steps for a source of weight 1, and 180 for one of 0.6


def test_a_stage_may_have_a_batch_of_its_own():
    stages = [replace(PIVOT_FIRST[0], batch=256), PIVOT_FIRST[1]]
    assert [stage.batch for stage in resolve(stages, STAR, "image", HOLDS, [1.0] * 3)] == [256, None]


def test_a_stage_of_which_no_pair_is_listed_is_left_out():
    stages = resolve(PIVOT_FIRST, [Pair(["audio", "text"])], "image", [{"audio", "text"}], [1.0])
    assert [(stage.name, stage.freeze, stage.steps) for stage in stages] == [("bind", [], 300)]


def test_a_pair_is_found_under_either_order_of_its_names():
    stage = StageSettings("only", 10, ["text-image"])
    stages = resolve([stage], [Pair(["image", "text"])], "image", [{"image", "text"}], [1.0])
    assert stages[0].pairs[0].of == ["image", "text"]


def test_a_pair_that_no_source_holds_is_named_with_the_columns_it_needs():
    with pytest.raises(UserError, match=r"holds both sides of the pair image-depth: add one with the columns"):
        resolve(PIVOT_FIRST, STAR, "image", HOLDS[:2], [1.0, 1.0])


def test_a_pair_that_no_stage_trains_is_named():
    with pytest.raises(UserError, match="no stage trains image-audio, image-depth: let one have pairs"):
        resolve(PIVOT_FIRST[:1], STAR, "image", HOLDS, [1.0] * 3)


def test_a_stage_that_freezes_all_its_members_is_refused():
    stages = [StageSettings("joint", 10), StageSettings("again", 10, ["all"], ["done"])]
    with pytest.raises(UserError, match=r"in stage 'again' both towers of .* are frozen: nothing is left to train"):
        resolve(stages, STAR, "image", HOLDS, [1.0] * 3)


def test_the_learning_rate_rises_to_one_and_falls_to_zero():
    factor = warmup_cosine(100, 0.1)
    rates = [factor(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == rates[9] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001
    assert factor(100) == 0.0


def test_pairs_of_two_towers_that_stand_still_are_left_out_of_a_stage_with_a_word():
    joint = StageSettings("joint", 10)
    stages = [StageSettings("only", 5, ["image-text"]), StageSettings("joint", 10, ["all"], ["image", "text"])]
    with pytest.warns(UserWarning, match="both towers of image-text are frozen: the pair is left out"):
        (stage,) = resolve(stages, STAR, "image", HOLDS, [1.0] * 3)[1:]
    assert [pair.of for pair in stage.pairs] == [["image", "audio"], ["image", "depth"]]
    with pytest.raises(UserError, match="in stage 'joint' both towers of image-text are frozen: nothing is left"):
        resolve([joint], STAR[:1], "image", HOLDS, [1.0] * 3, {"image", "text"})


def test_a_pair_that_stands_still_in_every_stage_is_missed():
    stage = StageSettings("joint", 10, ["all"], ["image", "text"])
    with (
        pytest.warns(UserWarning, match="image-text are frozen"),
        pytest.raises(UserError, match="no stage trains image-text"),
    ):
        resolve([stage], STAR, "image", HOLDS, [1.0] * 3)

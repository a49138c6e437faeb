"""A pivot that stands still shapes the losses of its pairs: what is asked, recorded, repeated and refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from plain import ByHand, plain_batch, plain_space, quiet_trainer
from torch.nn import functional as F

from bindspace.errors import UserError
from bindspace.losses import content_keys, info_nce
from bindspace.losses.centroid import against_centroid
from bindspace.losses.soft import near, soft_targets
from bindspace.settings import DataSettings, LossKind, LossSettings, Pair, Precision, SoftTargets, Source, TrainRun
from bindspace.settings import TrainerSettings as Trainer
from bindspace.training import BindModule
from bindspace.training.schedule import Phase
from bindspace.training.shaping import check_shaping

STAR = [Pair(["middle", "left"]), Pair(["right", "middle"])]
HELD = {name: list(range(6)) for name in ("middle", "left", "right")}


def first_loss(tmp_path, *, freeze=("middle",), pairs=STAR, steps=1, **loss) -> tuple[BindModule, list[float]]:
    """A module after some steps on one batch, and the losses of the steps."""
    module, seen = BindModule(plain_space(), pairs, steps=steps, freeze=freeze, loss=LossSettings(**loss)), []
    module.log = lambda name, value, **_: seen.append(float(value))
    quiet_trainer(steps, tmp_path).fit(module, datamodule=ByHand([[plain_batch(HELD, 6)] * steps]))
    return module, seen


def sides() -> dict[str, torch.Tensor]:
    space, batch = plain_space().eval(), plain_batch(HELD, 6)
    with torch.no_grad():
        return {name: space(name, inputs) for name, inputs in batch.inputs.items()}


def test_training_asks_for_the_targets_and_the_mask_of_the_pivots(tmp_path):
    z, digests = sides(), plain_batch(HELD, 6).digests
    _, seen = first_loss(tmp_path, soft=SoftTargets(0.3, 0.2), mask_above=0.5)
    mask = near(z["middle"], 0.5)
    assert mask.any()
    expected = 0.0
    for a, b in (("middle", "left"), ("right", "middle")):
        keys = {"keys_a": content_keys(digests[a]), "keys_b": content_keys(digests[b])}
        soft = soft_targets(z["middle"], 0.3, 0.2, mask)
        expected += float(info_nce(z[a], z[b], 1 / 0.07, **keys, near_BB=mask, soft_BB=soft))
    assert seen[0] == pytest.approx(expected, rel=1e-5)
    assert seen[0] != pytest.approx(first_loss(tmp_path)[1][0], rel=1e-3)


@pytest.mark.parametrize("loss", [{"soft": SoftTargets(0.3)}, {"mask_above": 0.5}])
def test_the_record_says_that_the_pivot_shaped_its_pairs_and_nothing_else(tmp_path, loss):
    ledger = first_loss(tmp_path, **loss)[0].space.ledger
    assert ledger.shaped_by("middle", "left") == ledger.shaped_by("middle", "right") == ["middle"]
    assert ledger.shaped_by("left", "right") == []
    assert ledger.unpaired_steps("left", "right") == 0


def test_a_pivot_that_moves_shapes_nothing(tmp_path):
    plain = first_loss(tmp_path, freeze=())[1]
    module, seen = first_loss(tmp_path, freeze=(), soft=SoftTargets(0.3), mask_above=0.2, noise=0.3)
    assert seen == plain
    assert module.space.ledger.shaped_by("middle", "left") == []
    pair = [Pair(["left", "right"])]
    assert first_loss(tmp_path, pairs=pair)[1] == first_loss(tmp_path, pairs=pair, mask_above=0.2, noise=0.3)[1]


def test_noise_is_that_of_the_step_and_leaves_no_mark_on_the_record(tmp_path):
    plain, one, again = (first_loss(tmp_path, steps=3, noise=noise) for noise in (0.0, 0.3, 0.3))
    assert one[1] == again[1]
    assert all(x != y for x, y in zip(one[1], plain[1]))
    assert one[0].space.ledger.shaped_by("middle", "left") == []


def test_sides_that_meet_at_their_mean_are_a_pair_as_ever(tmp_path):
    z = sides()
    module, seen = first_loss(tmp_path, freeze=(), pairs=STAR[:1], centroid=True)
    expected = against_centroid(partial(info_nce, logit_scale=1 / 0.07), z["middle"], z["left"])
    assert seen[0] == pytest.approx(float(expected), rel=1e-5)
    assert module.space.ledger.trained_pairs() == [("left", "middle")]
    assert module.space.ledger.shaped_by("left", "middle") == []


def phase(freeze: list[str]) -> Phase:
    return Phase("bind", STAR, freeze, [0], 1, 1.0)


def run(batch: int = 8, devices: int = 1, source: int | None = None, **loss) -> TrainRun:
    data = DataSettings(train=[Source("a", batch=source)], batch=batch)
    return TrainRun(pivot="middle", data=data, loss=LossSettings(**loss), trainer=Trainer(devices=devices))


def test_what_needs_the_whole_matrix_is_refused_without_it():
    still = [phase(["middle"])]
    check_shaping(run(mask_above=0.9, soft=SoftTargets(0.1)), still)
    check_shaping(run(batch=4096, noise=0.1), still)
    for asked, said in (
        (run(batch=1024, mask_above=0.9), "got 1 ranks, float32 and a batch of 1024"),
        (run(source=2000, mask_above=0.9), "a batch of 2000"),
        (run(devices=2, soft=SoftTargets(0.1)), "got 2 ranks"),
        (run(precision=Precision.bf16, mask_above=0.9), "float32 and with fewer than 1024 rows: got 1 ranks, bf16"),
    ):
        with pytest.raises(UserError, match=said):
            check_shaping(asked, still)
    apart = [replace(phase([]), batch=4096), replace(phase(["middle"]), batch=8)]
    check_shaping(run(batch=2048, mask_above=0.9), apart)  # only the stages in which the pivot stands still count
    with pytest.raises(UserError, match="a batch of 4096"):
        check_shaping(run(mask_above=0.9), [replace(still[0], batch=4096)])
    with pytest.raises(UserError, match="know the pivots of the batch, not those of past rows"):
        check_shaping(run(mask_above=0.9, bank=64), still)
    with pytest.raises(UserError, match="the targets of siglip are no distribution"):
        check_shaping(run(kind=LossKind.siglip, soft=SoftTargets(0.1)), still)


def test_settings_without_a_still_pivot_are_said_to_have_no_effect():
    check_shaping(run(), [phase([])])
    with pytest.warns(UserWarning, match="have no effect: they need a pivot that stands still"):
        check_shaping(run(noise=0.1), [phase([])])


def test_vectors_of_the_toys_are_unit_vectors():
    assert all(torch.allclose(z, F.normalize(z, dim=1)) for z in sides().values())

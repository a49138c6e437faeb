"""Heads that learn a metric: what training compares, what they bring back, what is recorded, repeated and refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from making import killed_after, train_star, write_star
from plain import ByHand, Left, Middle, Right, plain_batch, plain_space, quiet_trainer
from torch.nn import functional as F

from bindspace import Head
from bindspace.cli import main
from bindspace.contract.errors import UserError
from bindspace.losses import content_keys, info_nce
from bindspace.modules.heads import WIDER
from bindspace.settings.distillation import check_hubs
from bindspace.settings.run import Hubs, LossSettings, Pair, Teach, TeachForm, TrainRun
from bindspace.space.bundle import load
from bindspace.training import BindModule
from bindspace.training.distillation import Teacher
from bindspace.training.references import Landmarks
from bindspace.training.sides import Side

ASKED = ["modality.curve.head=metric", "loss.hubs.of=words", "loss.hubs.landmarks=20"]
HELD = {name: list(range(6)) for name in ("middle", "left", "right")}


@pytest.fixture
def data(tmp_path, monkeypatch, install_toys):
    """A star of toys."""
    monkeypatch.chdir(tmp_path)
    write_star()


def test_the_pair_meets_the_pivot_in_the_metric_and_other_pairs_in_the_space(tmp_path):
    batch, configs = plain_batch(HELD, 6), {"left": Left(head=Head.metric)}
    pairs, seen = [Pair(["middle", "left"]), Pair(["middle", "right"])], []
    module = BindModule(plain_space(**configs), pairs, steps=1, freeze=["middle"])
    module.log = lambda name, value, **_: seen.append(float(value))
    space = plain_space(**configs)
    with torch.no_grad():
        z = {name: space(name, inputs) for name, inputs in batch.inputs.items()}
        sides = {"left": space.towers["left"].head.met(z["middle"]), "right": z["middle"]}
    assert z["left"].shape == (6, WIDER * 4)
    quiet_trainer(1, tmp_path).fit(module, datamodule=ByHand([[batch]]))
    keys = {name: content_keys(digests) for name, digests in batch.digests.items()}
    expected = sum(
        float(info_nce(anchor, z[name], 1 / 0.07, keys_a=keys["middle"], keys_b=keys[name]))
        for name, anchor in sides.items()
    )
    assert seen[0] == pytest.approx(expected, rel=1e-5)


def test_what_is_brought_back_is_of_unit_length_in_the_space_whatever_the_map(tmp_path):
    batch = plain_batch(HELD, 6)
    module = BindModule(
        plain_space(left=Left(head=Head.metric)), [Pair(["middle", "left"])], steps=20, freeze=["middle"]
    )
    quiet_trainer(20, tmp_path).fit(module, datamodule=ByHand([[batch] * 20]))
    space, head = module.space, module.space.towers["left"].head
    space.train()
    with torch.no_grad():
        met = space("left", batch.inputs["left"])
        space.eval()
        u, x = space("left", batch.inputs["left"]), space("middle", batch.inputs["middle"])
    assert u.shape == (6, 4)
    # the order of u's cosines with points of the space is that of the metric's, up to how long the map makes each
    lengths = head.mapped(x).norm(dim=1)
    assert torch.allclose(u @ x.T * head.back(met).norm(dim=1, keepdim=True), met @ head.met(x).T * lengths, atol=1e-5)
    assert torch.allclose(head.met(x), F.normalize(x @ (10 * head.map).T, dim=1))


@pytest.mark.parametrize(
    ("configs", "pair", "freeze"),
    [
        ({"left": Left(head=Head.metric)}, ["middle", "left"], []),
        ({"left": Left(head=Head.metric)}, ["left", "right"], ["middle"]),
        ({"middle": Middle(head=Head.metric)}, ["middle", "left"], []),
        ({"right": Right(head=Head.metric)}, ["left", "right"], ["left"]),
    ],
)
def test_it_needs_a_pivot_that_stands_still(configs, pair, freeze):
    (name,) = configs
    sentence = f"modality.{name}.head=metric: {name} learns to meet a pivot that stands still, and in the pair"
    with pytest.raises(UserError, match=sentence):
        BindModule(plain_space(**configs), [Pair(pair)], steps=1, freeze=freeze)


def test_a_modality_that_has_learned_its_metric_stands_still_in_any_pair(tmp_path):
    space = plain_space(left=Left(head=Head.metric))
    before = {name: value.clone() for name, value in space.towers["left"].state_dict().items()}
    module = BindModule(space, [Pair(["left", "right"])], steps=2, freeze=["left"])
    quiet_trainer(2, tmp_path).fit(module, datamodule=ByHand([[plain_batch(HELD, 6)] * 2]))
    assert all(torch.equal(before[name], value) for name, value in space.towers["left"].state_dict().items())


def test_the_hubs_are_taken_off_and_on_record_as_unpaired_once(data):
    assert train_star(*ASKED) == 0
    space = load("run/space")
    record = space.ledger.pairs["curve", "words"]
    assert (record.paired.steps, record.unpaired.steps, record.unpaired.examples) == (0, 1, 0)
    assert 2 <= len(record.unpaired.media["words"]) <= 20
    assert record.shaped_by == ["vector"]
    assert space.ledger.status("curve", "words") == "emergent"
    head = space.towers["curve"].head
    assert head.hubs.abs().max() > 0
    assert train_star(ASKED[0], out="without") == 0
    other = load("without/space")
    assert other.ledger.unpaired_steps("curve", "words") == 0
    assert other.towers["curve"].head.hubs.abs().max() == 0
    assert torch.equal(other.towers["curve"].head.map, head.map)  # no step knows of them


def test_a_run_that_was_killed_goes_on_to_the_same_weights(data):
    teach = "teach=[{of: [curve,words], form: proxy, landmarks: 9},{of: [curve,words], form: sample, landmarks: 9}]"
    more = [*ASKED, teach, "trainer.val_every=2", "data.val_fraction=0.2"]
    assert train_star(*more, out="whole") == 0
    with killed_after(3):  # two of the first stage, and the third step of the second
        assert train_star(*more, out="cut") == 2
    assert main(["train", "run=cut"]) == 0
    first, second = (load(f"{out}/space") for out in ("whole", "cut"))
    assert all(torch.equal(x, second.state_dict()[name]) for name, x in first.state_dict().items())
    assert first.ledger.summary()["pairs"] == second.ledger.summary()["pairs"]
    assert first.ledger.unpaired_steps("curve", "words") == 13  # six of each form, and the hubs


def test_how_often_it_is_validated_changes_no_weight(data):
    teach = "teach=[{of: [curve,words], form: sample, landmarks: 9}]"
    for every in (0, 2):
        assert train_star(*ASKED, teach, f"trainer.val_every={every}", out=f"every{every}") == 0
    first, second = (load(f"every{every}/space").state_dict() for every in (0, 2))
    assert all(torch.equal(x, second[name]) for name, x in first.items())


def test_what_cannot_be_is_refused_before_anything_is_trained(data, capsys):
    for changes, said in (
        (["loss.hubs.of=word"], "unknown modality in loss.hubs.of 'word': did you mean 'words'?"),
        (["loss.hubs.of=vector"], "loss.hubs.of=vector: it is the pivot itself"),
        (["loss.hubs.weight=2"], "loss.hubs.weight: expected more than 0 and at most 1, got 2.0"),
        (["loss.hubs.landmarks=1"], "loss.hubs.landmarks: expected 2 or more, or 0 for all, got 1"),
        (["modality.words.head=metric"], "modality.words.head=metric: words learns to meet a pivot that stands still"),
    ):
        assert train_star(*ASKED, *changes) == 2
        assert said in capsys.readouterr().err
    assert train_star(*ASKED, stages="stages=[{name: joint, steps: 3}]") == 2
    assert "in the pair vector-curve none does: bind it in a later stage that freezes vector" in capsys.readouterr().err


def test_hubs_without_a_metric_have_no_effect_and_that_is_said():
    run = TrainRun(pivot="middle", modality={"middle": Middle(), "left": Left()}, loss=LossSettings(hubs=Hubs("left")))
    with pytest.warns(UserWarning, match="loss.hubs.of=left has no effect: no head learns a metric"):
        check_hubs(run)


@pytest.mark.parametrize("form", list(TeachForm))
def test_what_is_taught_is_met_where_it_belongs(form):
    """Proxies stand in for the pivot, in the metric; landmarks are points of the space."""
    batch, space = plain_batch(HELD, 6), plain_space(left=Left(head=Head.metric))
    head = space.towers["left"].head
    marks_MD = F.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    sharp = {"temperature": 1e-3, "learner_temperature": 0.5}  # the nearest landmark, and no other
    marks = Landmarks("right", marks_MD, np.zeros((9, 32), np.uint8))
    given = Teacher(Teach(["left", "right"], form=form, **sharp), "middle", marks, head)
    with torch.no_grad():
        sides = {name: Side(space(name, batch.inputs[name]), batch.digests[name]) for name in ("left", "middle")}
        a, x = sides["left"].z_BD, sides["middle"].z_BD
        nearest = marks_MD[(x @ marks_MD.T).argmax(1)]
        u = F.normalize(head.back(a), dim=1)
        keys = {"keys_a": content_keys(batch.digests["left"]), "keys_b": content_keys(batch.digests["middle"])}
        expected = {
            TeachForm.proxy: info_nce(a, head.met(nearest), 2.0, **keys),
            TeachForm.sample: info_nce(u, nearest, 2.0, **keys),
        }
        assert float(given.loss(sides, batch, [6])) == pytest.approx(float(expected[form]), rel=1e-3)

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
from bindspace.settings.run import Pair, TrainRun
from bindspace.space.bundle import load
from bindspace.training import BindModule
from bindspace.training.named import HubnessConfig
from bindspace.training.references import References
from bindspace.training.terms import DistillationConfig, Target
from bindspace.training.terms.batch import Step, TermBatch

METRIC = ["modality.curve.head=metric", "modality.curve.bind.loss=learned_metric"]
ASKED = [*METRIC, "callbacks=[hubness]", "callbacks.hubness.of=words", "callbacks.hubness.count=20"]
HELD = {name: list(range(6)) for name in ("middle", "left", "right")}


@pytest.fixture
def data(tmp_path, monkeypatch, install_toys):
    """A star of toys."""
    monkeypatch.chdir(tmp_path)
    write_star()


def test_the_pair_meets_the_pivot_in_the_metric_and_other_pairs_in_the_space(tmp_path):
    batch, configs = plain_batch(HELD, 6), {"left": Left(head=Head.metric)}
    pairs, seen = [Pair(["middle", "left"], loss="learned_metric"), Pair(["middle", "right"])], []
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
    pairs = [Pair(["middle", "left"], loss="learned_metric")]
    module = BindModule(plain_space(left=Left(head=Head.metric)), pairs, steps=20, freeze=["middle"])
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
def test_it_needs_a_frozen_pivot(configs, pair, freeze):
    (name,) = configs
    sentence = f"modality.{name}: bind.loss=learned_metric needs head=metric and a frozen pivot in the pair"
    with pytest.raises(UserError, match=sentence):
        BindModule(plain_space(**configs), [Pair(pair, loss="learned_metric")], steps=1, freeze=freeze)


def test_a_head_that_learns_a_metric_needs_the_loss_that_knows_it():
    with pytest.raises(UserError, match=r"modality\.left: head=metric needs bind\.loss=learned_metric"):
        BindModule(plain_space(left=Left(head=Head.metric)), [Pair(["middle", "left"])], steps=1, freeze=["middle"])


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
    assert train_star(*METRIC, out="without") == 0
    other = load("without/space")
    assert other.ledger.unpaired_steps("curve", "words") == 0
    assert other.towers["curve"].head.hubs.abs().max() == 0
    assert torch.equal(other.towers["curve"].head.map, head.map)  # no step knows of them


def test_a_run_that_was_killed_goes_on_to_the_same_weights(data):
    term = "{use: distillation, of: [curve,words], count: 9, target: "
    teach = f"terms=[{term}proxy}},{term}sample}}]"
    more = [*ASKED, teach, "trainer.val_every=2", "data.val_fraction=0.2"]
    assert train_star(*more, out="whole") == 0
    with killed_after(3):  # two of the first stage, and the third step of the second
        assert train_star(*more, out="cut") == 2
    assert main(["train", "run=cut"]) == 0
    first, second = (load(f"{out}/space") for out in ("whole", "cut"))
    assert all(torch.equal(x, second.state_dict()[name]) for name, x in first.state_dict().items())
    assert first.ledger.summary()["pairs"] == second.ledger.summary()["pairs"]
    assert first.ledger.unpaired_steps("curve", "words") == 7  # six of both terms, and the hubness correction


def test_how_often_it_is_validated_changes_no_weight(data):
    teach = "terms=[{use: distillation, of: [curve,words], target: sample, count: 9}]"
    for every in (0, 2):
        assert train_star(*ASKED, teach, f"trainer.val_every={every}", out=f"every{every}") == 0
    first, second = (load(f"every{every}/space").state_dict() for every in (0, 2))
    assert all(torch.equal(x, second[name]) for name, x in first.items())


def test_what_cannot_be_is_refused_before_anything_is_trained(data, capsys):
    for changes, said in (
        (["callbacks.hubness.of=word"], "unknown modality in callbacks.hubness.of 'word': did you mean 'words'?"),
        (["callbacks.hubness.of=vector"], "callbacks.hubness.of=vector: it is the pivot itself"),
        (["callbacks.hubness.weight=2"], "callbacks.hubness.weight: expected more than 0 and at most 1, got 2.0"),
        (["callbacks.hubness.count=1"], "callbacks.hubness.count: expected 2 or more, or 0 for all, got 1"),
        (["modality.words.head=metric"], "modality.words: head=metric needs bind.loss=learned_metric"),
    ):
        assert train_star(*ASKED, *changes) == 2
        assert said in capsys.readouterr().err
    assert train_star(*ASKED, stages="stages=[{name: joint, steps: 3}]") == 2
    assert "a frozen pivot in the pair vector-curve: freeze vector in that stage" in capsys.readouterr().err


def test_hubness_without_a_metric_has_no_effect_and_that_is_said():
    run = TrainRun(pivot="middle", modality={"middle": Middle(), "left": Left()})
    with pytest.warns(UserWarning, match="callbacks.hubness has no effect: no head learns a metric"):
        HubnessConfig(of="left").check(run)


@pytest.mark.parametrize("target", list(Target))
def test_what_is_distilled_is_met_where_it_belongs(target, tmp_path):
    """Proxies stand in for the pivot, in the metric; reference vectors are points of the space."""
    batch, space = plain_batch(HELD, 6), plain_space(left=Left(head=Head.metric))
    marks_MD = F.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    sharp = {"temperature": 1e-3, "student_temperature": 0.5}  # the nearest reference vector, and no other
    terms = [DistillationConfig(of=["left", "right"], target=target, count=0, **sharp)]
    given = {"right": References("right", marks_MD, np.zeros((9, 32), np.uint8))}
    pairs = [Pair(["middle", "left"], loss="learned_metric")]
    module = BindModule(space, pairs, steps=1, freeze=["middle", "right"], terms=terms, references=given).train()
    head = space.towers["left"].head
    with torch.no_grad():
        a, x = (space(name, batch.inputs[name]) for name in ("left", "middle"))
        nearest = marks_MD[(x @ marks_MD.T).argmax(1)]
        u = F.normalize(head.back(a), dim=1)
        keys = {"keys_a": content_keys(batch.digests["left"]), "keys_b": content_keys(batch.digests["middle"])}
        expected = {
            Target.proxy: info_nce(a, head.met(nearest), 2.0, **keys),
            Target.sample: info_nce(u, nearest, 2.0, **keys),
        }
        step = Step(batch, {"left": a, "middle": x}, space, ["middle", "left"])
        door = TermBatch(step, ["middle", "left"], given, "s", False)
        assert float(module.listed[1].term(door)) == pytest.approx(float(expected[target]), rel=1e-3)

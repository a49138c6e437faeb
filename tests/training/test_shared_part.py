"""Others bind to the part of the pivot that the landmarks reach: what they see, what is recorded and refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from making import killed_after, train_star, write_star
from plain import ByHand, plain_batch, plain_space, quiet_trainer

from bindspace.bundle import load
from bindspace.cli import main
from bindspace.losses import content_keys, info_nce
from bindspace.losses.subspace import projected
from bindspace.settings import LossSettings, Pair
from bindspace.training import BindModule
from bindspace.training.landmarks import Landmarks
from bindspace.training.subspace import SharedPart

ASKED = ["loss.subspace.of=words", "loss.subspace.dim=2", "loss.subspace.landmarks=20"]


@pytest.fixture
def data(tmp_path, monkeypatch, install_toys):
    """A star of toys."""
    monkeypatch.chdir(tmp_path)
    write_star()


def test_it_is_on_record_as_unpaired_with_each_that_binds_to_it(data):
    assert train_star(*ASKED) == 0
    ledger = load("run/space").ledger
    record = ledger.pairs["curve", "words"]
    assert (record.paired.steps, record.unpaired.steps, record.unpaired.examples) == (0, 6, 48)
    assert 2 <= len(record.unpaired.media["words"]) <= 20
    assert record.shaped_by == ["vector"]
    assert ledger.status("curve", "words") == "emergent"
    assert ledger.unpaired_steps("vector", "words") == ledger.unpaired_steps("vector", "curve") == 0


def test_a_run_that_was_killed_goes_on_to_the_same_weights(data):
    more = [*ASKED, "loss.noise=0.2", "loss.soft.weight=0.2", "loss.mask_above=0.9"]
    assert train_star(*more, out="whole") == 0
    with killed_after(3):  # two of the first stage, and the third step of the second
        assert train_star(*more, out="cut") == 2
    assert main(["train", "run=cut"]) == 0
    first, second = (load(f"{out}/space") for out in ("whole", "cut"))
    assert all(torch.equal(x, second.state_dict()[name]) for name, x in first.state_dict().items())
    assert first.ledger.summary()["pairs"] == second.ledger.summary()["pairs"]
    assert first.ledger.shaped_by("curve", "vector") == ["vector"]


def test_what_cannot_be_is_refused_before_anything_is_trained(data, capsys):
    for changes, said in (
        (["loss.subspace.of=word"], "unknown modality in loss.subspace.of 'word': did you mean 'words'?"),
        (["loss.subspace.of=vector"], "loss.subspace.of=vector: it is the pivot"),
        (["loss.subspace.dim=4"], "loss.subspace.dim: expected 1 or more and fewer than dim=4, got 4"),
        (["loss.subspace.landmarks=1"], "loss.subspace.landmarks: expected 2 or more, or 0 for all, got 1"),
    ):
        assert train_star(*ASKED, *changes) == 2
        assert said in capsys.readouterr().err
    assert train_star(*ASKED, stages="stages=[{name: joint, steps: 3}]") == 2
    assert "loss.subspace: vector is trained in stage 'joint' as well" in capsys.readouterr().err


def test_the_pair_sees_the_pivots_part_and_the_pair_of_the_landmarks_all_of_it(tmp_path):
    batch = plain_batch({name: list(range(6)) for name in ("middle", "left", "right")}, 6)
    marks = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    part = SharedPart("middle", Landmarks("right", marks, np.zeros((9, 32), np.uint8)), 2)
    pairs = [Pair(["middle", "left"]), Pair(["middle", "right"])]
    module, seen = BindModule(plain_space(), pairs, steps=1, freeze=["middle"], loss=LossSettings()), []
    module.shaping.part, module.log = part, lambda name, value, **_: seen.append(float(value))
    space = plain_space().eval()
    with torch.no_grad():
        z = {name: space(name, inputs) for name, inputs in batch.inputs.items()}
    quiet_trainer(1, tmp_path).fit(module, datamodule=ByHand([[batch]]))
    expected = 0.0
    for name, anchor in (("left", projected(z["middle"], part.basis_DK)), ("right", z["middle"])):
        keys = {"keys_a": content_keys(batch.digests["middle"]), "keys_b": content_keys(batch.digests[name])}
        expected += float(info_nce(anchor, z[name], 1 / 0.07, **keys))
    assert seen[0] == pytest.approx(expected, rel=1e-5)
    assert module.space.ledger.unpaired_steps("left", "right") == 1

"""A new modality joins a saved space: existing weights stay bitwise identical, also after a kill and a move."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import write_examples
from making import QUICK

import bindspace
from bindspace.cli import main
from bindspace.contract.errors import UserError
from bindspace.space.bundle import load
from bindspace.training.callbacks import SaveLast

STEPS = "stages=[{name: only, steps: 9}]"


@pytest.fixture
def base(tmp_path, monkeypatch, install_toys):
    """A trained space of `vector` (the pivot, with BatchNorm and dropout) and `words`, in `base/space`."""
    monkeypatch.chdir(tmp_path)
    train = write_examples(tmp_path / "vw", 1, 40, ["vector", "words"])
    for name, seed, names in (("vc", 2, ["vector", "curve"]), ("test", 3, ["vector", "words", "curve"])):
        write_examples(tmp_path / name, seed, 30, names)
    chosen = ["modality=[vector,words]", "pivot=vector", "dim=4", STEPS, f"data.train=[{train}]", "out=base"]
    assert main(["train", *QUICK, *chosen]) == 0
    return tmp_path / "base" / "space"


def extend(*more: str, out: str = "new") -> int:
    """Binds `curve` to the space."""
    sources = ["data.train=[{path: vc}]", "data.test=[{path: test}]"]
    return main(["train", "extend=base/space", "+modality=curve", *QUICK, STEPS, *sources, f"out={out}", *more])


def vectors(space) -> dict[str, torch.Tensor]:
    """What the old modalities say of something new."""
    values = list(np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32))
    return space.embed(vector=values, words=["one word", "two other words", "word3 noise1"])


def test_existing_weights_stay_bitwise_identical_and_the_new_modality_is_trained(base):
    old = load(base)
    assert extend() == 0
    new = load("new/space")
    assert new.modalities == ["vector", "words", "curve"]
    for name, tensor in old.state_dict().items():
        assert torch.equal(tensor, new.state_dict()[name]), name
    assert all(torch.equal(value, vectors(new)[name]) for name, value in vectors(old).items())
    buffers = [name for name, _ in old.named_buffers() if "running" in name]
    assert buffers  # BatchNorm's, which a tower in training mode would move without any gradient
    fresh = dict(torch.load("new/checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert int(fresh["space.towers.curve.encoder.blocks.4.num_batches_tracked"]) == 9


def test_the_ledger_is_inherited_and_the_pair_of_the_new_modality_added(base):
    old = load(base).ledger
    assert extend() == 0
    ledger = load("new/space").ledger
    assert ledger.unknown_reason is None
    assert ledger.trained_pairs() == [("curve", "vector"), ("vector", "words")]
    assert ledger.pairs["vector", "words"].paired.steps == old.pairs["vector", "words"].paired.steps == 9
    assert ledger.status("curve", "words") == "emergent"
    assert ledger.towers["words"].inherited
    assert ledger.towers["words"].origin == "random"
    assert not ledger.towers["curve"].inherited
    weights = json.loads(Path("new/environment.json").read_text())["extend"]["weights_sha256"]
    assert weights[:16] in ledger.towers["vector"].note


def test_the_report_says_what_was_kept(base, capsys):
    assert extend() == 0
    report = json.loads(Path("new/benchmark/report.json").read_text())
    assert report["schema"] == 1
    kept = {(row["query"], row["gallery"]): row for row in report["retention"]}
    assert set(kept) == {("vector", "words"), ("words", "vector")}
    cells = {(cell["query"], cell["gallery"]): cell["recall"] for cell in report["pairs"]}
    for pair, row in kept.items():
        assert row["before"] == row["after"] == cells[pair]
        assert row["equal"] is True
    assert "### Retention: pairs of the space that was extended" in Path("new/benchmark/report.md").read_text()
    assert "retention: vector → words: R@10" in (out := capsys.readouterr().out)
    assert out.count("vectors bitwise identical") == 2


def test_vectors_that_changed_would_be_said_to_have_changed(base):
    from bindspace.benchmark.report.report import render_markdown
    from bindspace.benchmark.tasks.retention import retention
    from bindspace.contract.dataset import Source
    from bindspace.data import load_pool
    from bindspace.settings.run import BenchmarkSettings

    ancestor, space = load(base), load(base)
    with torch.no_grad():
        space.towers["words"].head[1].weight[0, 0] += 1e-3
    pool = load_pool([Source("test")], ancestor.configs)
    rows = retention(space, ancestor, pool, BenchmarkSettings(), progress=False)
    assert [row["equal"] for row in rows] == [False, False]
    assert extend() == 0
    report = json.loads(Path("new/benchmark/report.json").read_text())
    assert "changed" in render_markdown({**report, "retention": rows})


class Killed(UserError):
    """In the place of a kill."""


def kill_after(monkeypatch, saves: int) -> None:
    """Ends a run when it has written so many checkpoints."""
    whole, seen = SaveLast._save, []

    def save(self, trainer):
        whole(self, trainer)
        seen.append(trainer.global_step)
        if len(seen) == saves:
            raise Killed("killed")

    monkeypatch.setattr(SaveLast, "_save", save)


def test_a_killed_run_goes_on_to_the_weights_of_an_unbroken_one_from_where_the_space_is_now(base, monkeypatch):
    assert extend(out="unbroken") == 0
    with monkeypatch.context() as patch:
        kill_after(patch, 2)
        assert extend() == 2
    assert Path("new/checkpoints/last.ckpt").exists()
    assert not Path("new/space").exists()
    base.parent.rename("moved")
    assert main(["train", "run=new"]) == 2
    assert main(["train", "run=new", "extend=moved/space"]) == 0
    for name in ("model.safetensors", "ledger.media", "ledger.json"):
        assert (Path("new/space") / name).read_bytes() == (Path("unbroken/space") / name).read_bytes()
    reports = [json.loads((Path(run) / "benchmark/report.json").read_text()) for run in ("new", "unbroken")]
    assert reports[0]["retention"] == reports[1]["retention"]


def test_a_space_that_is_gone_or_has_changed_is_not_gone_on_with(base, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        kill_after(patch, 1)
        assert extend() == 2
    space = load(base)
    with torch.no_grad():
        space.towers["words"].encoder.table.weight[3] += 1
    bindspace.save(space, base)
    capsys.readouterr()
    assert main(["train", "run=new"]) == 2
    assert "base/space holds other weights than when" in capsys.readouterr().err
    base.parent.rename("moved")
    assert main(["train", "run=new"]) == 2
    assert "is gone: say where it is now with extend=FOLDER" in capsys.readouterr().err
    Path("new/environment.json").write_text("{}")
    assert main(["train", "run=new"]) == 2
    assert "does not say which space was extended" in capsys.readouterr().err


@pytest.mark.filterwarnings("default:the ledger of")
def test_a_space_whose_ledger_is_of_other_weights_is_extended_with_a_warning_and_stays_unknown(base, capsys):
    space = load(base)
    with torch.no_grad():
        space.towers["words"].encoder.table.weight[3] += 1
    ledger = (base / "ledger.json").read_bytes()
    bindspace.save(space, base)
    (base / "ledger.json").write_bytes(ledger)
    assert extend() == 0
    assert "is unknown (ledger.json was written for other weights" in capsys.readouterr().err
    new = load("new/space").ledger
    assert new.status("vector", "words") == new.status("curve", "words") == new.status("curve", "vector") == "unknown"
    report = json.loads(Path("new/benchmark/report.json").read_text())
    assert [row["equal"] for row in report["retention"]] == [True, True]  # a leg by its temperature


def test_a_space_can_be_extended_again_and_again(base):
    assert extend() == 0
    write_examples(Path("vi"), 5, 20, ["vector", "text"])
    sources = ["data.train=[{path: vi}]", "data.test=[{path: test}]", "out=third"]
    assert main(["train", "extend=new/space", "+modality=text", *QUICK, STEPS, *sources]) == 0
    ledger = load("third/space").ledger
    assert ledger.trained_pairs() == [("curve", "vector"), ("text", "vector"), ("vector", "words")]
    assert ledger.status("curve", "text") == "emergent"
    assert ledger.pairs["curve", "vector"].paired.steps == 9
    report = json.loads(Path("third/benchmark/report.json").read_text())
    assert len(report["retention"]) == 4

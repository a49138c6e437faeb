"""What is measured while a run trains, and what may choose its weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from examples import write_examples
from making import QUICK

from bindspace.cli import main
from bindspace.space.bundle import load

STAGES = "stages=[{name: a, steps: 6, pairs: [vector-words]},{name: b, steps: 6, pairs: [rest], freeze: [done]}]"


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch, install_toys):
    """Two training sources, and one for validation that shows all three."""
    monkeypatch.chdir(tmp_path)
    for name, seed, names in (("vw", 1, "vector words"), ("vc", 2, "vector curve"), ("val", 3, "vector words curve")):
        write_examples(tmp_path / name, seed, 30, names.split())


def train(*more: str, val: str = "data.val=[{path: val}]") -> int:
    """Trains the star round `vector`."""
    sources = ["data.train=[{path: vw},{path: vc}]", val]
    chosen = ["modality=[vector,words,curve]", "pivot=vector", "dim=4", STAGES, "out=run"]
    return main(["train", *QUICK, *chosen, *filter(None, sources), *more])


def figures(name: str) -> dict[int, float]:
    """A column of metrics.csv by step."""
    with Path("run/metrics.csv").open() as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


def test_chosen_pairs_are_measured_every_so_many_steps_beside_those_of_the_stage():
    assert train("trainer.val_every=2", "trainer.val_pairs=[words-curve]") == 0
    assert list(figures("val/curve-words/r10")) == [2, 4, 6, 8, 10, 12]
    assert list(figures("val/vector-words/r10")) == [2, 4, 6]
    assert list(figures("val/vector-curve/r1")) == [8, 10, 12]
    assert load("run/space").ledger.selected_on == []


def test_a_stage_trains_on_batches_of_its_own_size():
    assert train("data.batch=8", "stages.0.batch=5", "trainer.log_every=1", "loss.mask_duplicates=false") == 0
    assert set(figures("train/vector-words/negatives").values()) == {4.0}
    assert set(figures("train/vector-curve/negatives").values()) == {7.0}


def test_a_trained_pair_chooses_in_the_stage_that_trains_it_and_is_recorded(monkeypatch):
    from bindspace.training import callbacks

    given = iter([0.5, 0.9, 0.1])
    validate, kept = callbacks.validate, []

    def told(space, pools, batch_size=128, caches=None):
        found = validate(space, pools, batch_size, caches)
        if "val/vector-curve/r10" in found:
            found["val/vector-curve/r10"] = next(given)
            kept.append({name: tensor.clone() for name, tensor in space.state_dict().items()})
        return found

    monkeypatch.setattr(callbacks, "validate", told)
    assert train("trainer.val_every=2", "trainer.keep_best=val/curve-vector/r10") == 0
    space = load("run/space")
    assert space.ledger.selected_on == ["val/vector-curve/r10"]
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in space.state_dict().items())
    assert any(not torch.equal(tensor, kept[2][name]) for name, tensor in space.state_dict().items())


def test_a_pair_that_is_not_trained_chooses_only_where_that_is_said_and_is_recorded(capsys):
    chosen = ["trainer.keep_best=val/words-curve/r10", "trainer.val_pairs=[words-curve]"]
    assert train(*chosen) == 2
    assert "this run does not train words-curve, and weights that a figure chose are no" in capsys.readouterr().err
    assert not Path("run").exists()
    assert train(*chosen, "trainer.keep_best_untrained=true") == 0
    assert load("run/space").ledger.selected_on == ["val/curve-words/r10"]


def test_a_pair_that_no_validation_source_holds_is_named(capsys):
    assert train("trainer.val_pairs=[words-curve]", val="data.val=[]") == 2
    assert "no source in data.val holds both words and curve: add one, or leave" in capsys.readouterr().err


def test_suite_none_leaves_the_test_pools_for_later():
    assert train("suite=none", "data.test=[{path: val}]", val="") == 0
    assert Path("run/space/space.json").is_file()
    assert not Path("run/benchmark").exists()
    later = ["space=run/space", "data.test=[{path: val}]", "benchmark.permutations=20", "out=report"]
    assert main(["benchmark", *later]) == 0
    assert len(json.loads(Path("report/report.json").read_text())["pairs"]) == 6

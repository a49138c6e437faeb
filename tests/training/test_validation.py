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
    from bindspace.training import module
    from bindspace.training.callbacks import KeepBest

    given, kept, recalls, end = iter([0.5, 0.9, 0.1]), [], module.recalls, KeepBest.on_validation_end

    def told(parts, a, b):
        return recalls(parts, a, b) | ({"r10": next(given)} if "curve" in (a, b) else {})

    def keep(self, trainer, module):
        kept.append({name: tensor.clone() for name, tensor in module.space.state_dict().items()})
        end(self, trainer, module)

    monkeypatch.setattr(module, "recalls", told)
    monkeypatch.setattr(KeepBest, "on_validation_end", keep)
    assert train("trainer.val_every=2", "trainer.keep_best=val/curve-vector/r10") == 0
    space = load("run/space")
    assert space.ledger.selected_on == ["val/vector-curve/r10"]
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in space.state_dict().items())
    assert any(not torch.equal(tensor, kept[2][name]) for name, tensor in space.state_dict().items())


def test_a_pair_that_is_not_trained_chooses_only_where_that_is_said_and_is_recorded(capsys):
    chosen = ["trainer.keep_best=val/words-curve/r10", "trainer.val_pairs=[words-curve]"]
    assert train(*chosen) == 2
    assert "this run does not train words-curve, and weights selected by its metric are no" in capsys.readouterr().err
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


def test_of_a_pair_no_more_events_are_validated_than_is_said_and_whole_groups(tmp_path, install_toys):
    from bindspace import Source
    from bindspace.data import Manifest, ValidationBatches

    write_examples(tmp_path / "many", 4, 40, ["vector", "words"])
    manifest = Manifest.load(Source("many"), ["vector", "words"])
    for number, row in enumerate(manifest.rows):
        row["group"] = f"g{number // 5}"
    configs = {"vector": install_toys.VectorConfig(), "words": install_toys.WordsConfig()}
    pairs = [("vector", "words"), ("vector", "curve")]
    given = ValidationBatches([manifest], configs, pairs, 8, 22, 0)
    ids = [name for i in range(len(given)) for name in given[i].ids]
    assert (len(ids), given.measured) == (20, [("vector", "words")])
    groups = {row["id"]: row["group"] for row in manifest.rows}
    assert all(sum(groups[name] == group for name in ids) == 5 for group in {groups[name] for name in ids})
    shares = [ValidationBatches([manifest], configs, pairs, 8, 22, 0, rank, 2) for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2]
    assert sorted(name for share in shares for i in range(2) for name in share[i].ids) == sorted(ids)


def test_early_stopping_of_lightnings_own_ends_a_fit_of_ones_own_on_a_validation_metric(tmp_path, install_toys):
    import lightning as L
    from lightning.pytorch.callbacks import EarlyStopping

    from bindspace import BindData, BindModule, Pair, Source, Space
    from bindspace.settings import DataSettings

    configs = {"vector": install_toys.VectorConfig(), "words": install_toys.WordsConfig()}
    pairs, settings = [Pair(["vector", "words"])], DataSettings(batch=8, workers=0, val_fraction=0.2)
    data = BindData(configs, [Source("vw")], None, pairs, settings, steps=40)
    module = BindModule(Space(configs, 4, "vector"), pairs, steps=40)
    stop = EarlyStopping("val/vector-words/r10", mode="max", patience=1, min_delta=2.0)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(
        max_steps=40, max_epochs=-1, accelerator="cpu", callbacks=[stop], val_check_interval=4, num_sanity_val_steps=0,
        check_val_every_n_epoch=None, enable_model_summary=False, default_root_dir=tmp_path, **quiet,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 8  # nothing can be better by two than the first
    assert 0 <= float(trainer.callback_metrics["val/vector-words/r1"]) <= 1


def test_a_stage_that_has_ended_stays_so_on_resume(tmp_path):
    assert train() == 0
    before = {name: tensor.clone() for name, tensor in load("run/space").state_dict().items()}
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert (checkpoint["stage"], checkpoint["stage_ended"]) == (1, True)
    assert main(["train", "run=run"]) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in load("run/space").state_dict().items())

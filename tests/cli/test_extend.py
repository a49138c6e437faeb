"""`bindspace train extend=SPACE`: what the space supplies, and what may not be said beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bindspace.cli.compose.run_file import load_run
from bindspace.ledger.ledger import Ledger
from bindspace.space.bundle import save
from bindspace.space.space import Space

MANIFEST = ["data=manifest", "data.train=[{path: A}]"]


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch, install_toys):
    """Runs in an empty folder with a space of toys, `run/space`: vector (the pivot) and words, of dim 4."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    configs = {"vector": install_toys.VectorConfig(width=6), "words": install_toys.WordsConfig()}
    space = Space(configs, dim=4, pivot="vector")
    space.ledger = Ledger.new(dict.fromkeys(space.modalities, "random"))
    Path("run").mkdir()
    return save(space.eval(), "run/space")


@pytest.mark.parametrize("named", ["+modality=curve", "modality=[curve]", "+modality=[curve]"])
def test_the_space_supplies_modalities_dim_and_pivot_and_the_list_names_the_new_modalities(call, training, named):
    outcome = call("train", "extend=run/space", named, *MANIFEST, "modality.curve.bind.weight=0.5", "out=mine")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    run = training[0][1]
    assert (list(run.modality), run.dim, run.pivot) == (["vector", "words", "curve"], 4, "vector")
    assert run.modality["vector"].width == 6
    assert [(pair.of, pair.weight) for pair in run.pairs] == [(["vector", "curve"], 0.5)]
    assert run.extend == str(Path("run/space").resolve())
    again = load_run("mine/config.yaml")
    assert (again.pairs, again.extend, again.dim, list(again.modality)) == (
        run.pairs,
        run.extend,
        4,
        list(run.modality),
    )
    assert again.modality["vector"].width == 6


def test_other_pairs_are_trained_if_one_side_is_new(call, training):
    pairs = "pairs=[{of: [words,curve]},{of: [vector,curve]}]"
    assert call("train", "extend=run/space", "+modality=curve", pairs, *MANIFEST).code == 0
    assert [pair.of for pair in training[0][1].pairs] == [["words", "curve"], ["vector", "curve"]]


def test_dim_and_pivot_may_be_said_as_they_are_and_the_config_is_shown_with_them(call):
    arguments = ["extend=run/space", "+modality=curve", "dim=4", "pivot=vector", *MANIFEST]
    values = yaml.safe_load(call("train", *arguments, "--cfg", "job").out)
    assert (values["dim"], values["pivot"], list(values["modality"])) == (4, "vector", ["curve"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["extend=nowhere", "+modality=curve"], "extend=nowhere: there is no such folder: give the `space` folder"),
        (["extend=run", "+modality=curve"], "run/space.json: did you mean "),
        (["extend=run/space"], "expected a new modality to add to vector, words: write +modality=NAME"),
        (["extend=run/space", "modality=[]"], "expected a new modality to add to vector, words"),
        (["extend=run/space", "+modality=words"], "has 'words' already (vector, words): name only new modalities"),
        (["extend=run/space", "modality=[vector,curve]"], "has 'vector' already"),
        (["extend=run/space", "+modality=cruve"], "unknown modality 'cruve': did you mean 'curve'?"),
        (["extend=run/space", "+modality=curve", "dim=8"], "has dim 4, which stays: leave dim out"),
        (["extend=run/space", "+modality=curve", "pivot=words"], "has pivot vector, which stays: leave pivot out"),
        (["extend=run/space", "+modality=curve", "modality.vector.width=9"], "'vector' comes from"),
        (["extend=run/space", "+modality=curve", "modality.vector.tune.lr=9"], "stays as it is: set new ones only"),
        (["extend=run/space", "+modality=curve", "~modality.words"], "'words' comes from"),
        (
            ["extend=run/space", "+modality=curve", "pairs=[{of: [vector,words]},{of: [vector,curve]}]"],
            "pair 'vector-words': both sides are frozen: with extend= one side of each pair is new (curve)",
        ),
        (["extend=run/space", "+modality=[curve,image]", "pairs=[{of: [vector,curve]}]"], "no pair contains 'image'"),
        (["extend=run/space", "+modality=curve", "pairs=[]"], "no pair contains 'curve'"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_leaves_nothing(refused, training, arguments, sentence):
    before = sorted(Path().rglob("*"))
    assert sentence in refused("train", *arguments, *MANIFEST)
    assert training == []
    assert sorted(Path().rglob("*")) == before


def test_a_space_without_its_plugin_says_what_to_install(refused, base):
    values = json.loads((base / "space.json").read_text())
    values["modalities"]["words"]["implementation"] = "wrods"
    (base / "space.json").write_text(json.dumps(values))
    sentence = refused("train", "extend=run/space", "+modality=curve", *MANIFEST)
    assert "needs the plugin 'wrods' of the package 'bindspace-toys' (1.0), which is not installed" in sentence


def test_a_run_that_extends_may_be_told_where_the_space_is_now(call, training):
    assert call("train", "extend=run/space", "+modality=curve", *MANIFEST, "out=mine").code == 0
    outcome = call("train", "run=mine", "extend=elsewhere/space")
    assert outcome.code == 0, outcome.err
    name, run, *_ = training[1]
    assert (name, run.extend, list(run.modality)) == ("resume", "elsewhere/space", ["vector", "words", "curve"])
    assert run.pairs == training[0][1].pairs


def test_a_sweep_extends_with_each_new_modality(call, training):
    outcome = call("train", "-m", "extend=run/space", "modality=[curve],[image]", *MANIFEST, "out=all")
    assert outcome.code == 0, outcome.err
    assert [list(run.modality) for _, run, *_ in training] == [["vector", "words", name] for name in ("curve", "image")]

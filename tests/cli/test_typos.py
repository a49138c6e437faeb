"""Each mistake gets one sentence with the closest name, the list, and the next step; exit code 2, no traceback."""

from __future__ import annotations

import pytest

from bindspace import cli
from bindspace.contract import registry

MANIFEST = ["data=manifest", "data.train=[{path: A}]"]
EAR = """
from dataclasses import dataclass
from bindspace import ModalityConfig
@dataclass(kw_only=True)
class EarConfig(ModalityConfig):
    modality = "audio"
    expects = "sound"
"""


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["modality=[audoi]"], ["unknown modality 'audoi'", "did you mean 'audio'?", "image", "`bindspace plugins`"]),
        (["+modality=dpeth"], ["unknown modality 'dpeth': did you mean 'depth'?", "`bindspace plugins`"]),
        (["modality=[image,depth_vti]"], ["unknown modality 'depth_vti': did you mean 'depth_vit'?"]),
        (["los=fixed"], ["unknown setting 'los': did you mean 'loss'?", "optim", "`bindspace train --help`"]),
        (
            ["loss=fixd"],
            ["unknown option of loss 'fixd': did you mean 'fixed'? (available: distillation, fixed"],
        ),
        (["loss/learned=x"], ["unknown group 'loss/learned': did you mean 'loss'?"]),
        (
            ["data=wrold"],
            ["unknown option of data 'wrold': did you mean 'world'? (available: audiocaps, ", ", manifest, "],
        ),
        (
            ["experiment=quikstart"],
            ["unknown option of experiment 'quikstart': did you mean 'quickstart'?", "--config-dir"],
        ),
        (["loss.temprature=1"], ["loss: unknown setting 'temprature': did you mean 'temperature'?"]),
        (["sed=1"], ["unknown setting 'sed': did you mean 'seed'?"]),
        (["+sed=1"], ["unknown setting 'sed': did you mean 'seed'?"]),
        (["++loss.temprature=1"], ["loss: unknown setting 'temprature'"]),
        (["modality.image.widht=1"], ["modality.image: unknown setting 'widht': did you mean 'width'?"]),
        (["+modality.image.widht=1"], ["modality.image: unknown setting 'widht': did you mean 'width'?"]),
        (["modality.image.tune.frezze=1"], ["modality.image.tune: unknown setting 'frezze': did you mean 'freeze'?"]),
        (["modality.audoi.width=1"], ["unknown modality 'audoi': did you mean 'audio'?"]),
        (["modality.imu.width=1"], ["modality 'imu' is not selected (selected: image, text, audio)", "+modality=imu"]),
        (["~modality.depth"], ["modality 'depth' is not selected"]),
        (["~modality.audoi"], ["unknown modality 'audoi': did you mean 'audio'?"]),
        (["~modality.audio", "modality.audio.width=3"], ["modality 'audio' is not selected (selected: image, text)"]),
        (["+modality/tactile=default"], ["modality is one list: write +modality=tactile"]),
        (["+modality=depth", "+modality=imu"], ["+modality is given twice: write '+modality=[depth,imu]'"]),
        (["modality=[]", "+modality=depth"], ["leaves nothing to add to: write 'modality=[depth]'"]),
        (["+modality=depth", "modality=[]"], ["leaves nothing to add to: write 'modality=[depth]'"]),
        (["+modality=audio"], ["'audio' is listed twice: write 'modality=[image,text,audio]'"]),
        (
            ["modality=[image,depth,depth_vit]"],
            ["'depth' and 'depth_vit' both serve 'depth'", "'modality=[image,depth_vit]'"],
        ),
        (["modality=image,text"], ["gives several values: write 'modality=[...]'", "or add -m"]),
        (["modality=[[image]]"], ["expected names, got ['image']: write 'modality=[A,B]'"]),
        (["~modality"], ["write ~modality.NAME to remove one"]),
        (["~loss"], ["loss takes one option: write loss=distillation|fixed"]),
        (["loss=[fixed,learned]"], ["loss takes one option", "|fixed|gram|info_nce|learned"]),
        (["~seed"], ["cannot remove 'seed'"]),
        (["seed=abc"], ["seed: expected a whole number, got 'abc'"]),
        (["optim.lr=fast"], ["optim.lr: expected a number, got 'fast'"]),
        (["trainer.progress=maybe"], ["trainer.progress: expected true or false, got 'maybe'"]),
        (["seed=null"], ["seed: expected a whole number, got null"]),
        (["size=bsae"], ["size: unknown value 'bsae': did you mean 'base'? (available: base, small, tiny)"]),
        (["modality.image.head=liner"], ["modality.image.head: unknown value 'liner': did you mean 'linear'?"]),
        (["data.train=[{pth: A}]"], ["unknown setting 'pth': did you mean 'path'?"]),
        (["data.train=[{root: A}]"], ["data.train[0].path is missing: give it a value"]),
        (["stages.7.steps=1"], ["stages has 2 items, counted from 0: there is no stages.7"]),
        (["seed.x=1"], ["cannot set seed.x: seed is one value"]),
        (["data=manifest", "data.dataset.events=9"], ["data.dataset is not set, so it has no settings"]),
        (["data.dataset.evnets=9"], ["data.dataset: unknown setting 'evnets': did you mean 'events'?"]),
        (["dim=${oc.env:HOME}"], ["dim: "]),
        (["dim=${nothing}"], ["dim: Interpolation key 'nothing' not found"]),
        (["modality=[image"], ["cannot read 'modality=[image'", "'modality=[A,B]'"]),
        (["seed"], ["cannot read 'seed': write key=value"]),
        (["--mutlirun"], ["unknown option '--mutlirun': did you mean '--multirun'?"]),
        (["--cfg", "jbo"], ["--cfg: expected job, got 'jbo'"]),
        (["--config-dir", "/nowhere"], ["--config-dir: expected a folder, got '/nowhere'"]),
        (["hydra/launcher=slrum"], ["unknown option of hydra/launcher 'slrum'"]),
    ],
    ids=lambda value: " ".join(value) if all(isinstance(item, str) and " " not in item for item in value) else "",
)
def test_a_typo_is_named_with_the_closest_name_and_the_next_step(refused, arguments, sentences):
    sentence = refused("train", *arguments)
    for part in sentences:
        assert part in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["modality=[image]"], "expected two modalities or more, got image: choose some, e.g. '+modality=NAME'"),
        (["modality=[]"], "expected two modalities or more, got none"),
        (["pivot=imgae"], "unknown pivot 'imgae': did you mean 'image'? (available: audio, image, text)"),
        (["pairs=[{of: [audio,txet]}]"], "unknown modality in pair 'audio-txet' 'txet': did you mean 'text'?"),
        (["pairs=[{of: [audio,imu]}]"], "select it with +modality=imu"),
        (["pairs=[{of: [audio]}]"], "pair 'audio': expected two different modalities, got 1"),
        (["pairs=[{of: [audio,text]},{of: [text,audio]}]"], "pair 'text-audio' is listed twice"),
        (["pairs=[]"], "pairs is empty, so there is nothing to train"),
        (["pairs=[{of: [audio,text], temperature: 0}]"], "pair 'audio-text': expected a temperature above 0, got 0"),
        (["modality.text.bind.weight=-1"], "pair 'image-text': expected a weight of 0 or more, got -1"),
        (["stages=[]"], "stages is empty, so nothing would be trained: choose a schedule"),
        (["stages.0.steps=0"], "stages.0.steps: expected 1 or more, got 0"),
        (["stages.0.batch=1"], "stages.0.batch: expected 2 or more, since the others of a batch are the negatives, or"),
        (["data.batch=1"], "data.batch: expected 2 or more, since the others of a batch are the negatives, got 1"),
        (["loss.temperature=0"], "loss.temperature: expected more than 0, got 0.0"),
        (
            ["terms=[{use: gram, of: [image,audio,txet]}]"],
            "unknown modality in terms.0 (gram) 'txet': did you mean",
        ),
        (["terms=[{use: gram, of: [image,audio]}]"], "terms.0 (gram): expected 3 modalities or more, each once, got"),
        (["terms=[{use: grma, of: [image,audio,text]}]"], "unknown term 'grma': did you mean 'gram'?"),
        (["terms=[{of: [image,audio,text]}]"], "terms[0]: expected the name of a term and its settings, write {use:"),
        (["teach=[{of: [audio,text]}]"], "the setting teach was removed: write terms=[{use: distillation, of:"),
        (["loss.kind=siglip"], "the setting loss.kind was removed: write loss=siglip"),
        (["data.views=3"], "the setting data.views was removed: augmented views of frozen towers gained nothing"),
        (["trainer.devices=0"], "trainer.devices: expected 1 or more, got 0"),
        (["extend=somewhere"], "extend=somewhere: there is no such folder"),
        (["trainer.val_pairs=[audio-txet]"], "unknown modality in trainer.val_pairs 'audio-txet' 'txet': did you mean"),
        (
            ["trainer.val_pairs=[audio]"],
            "expected two modalities joined by -, like A-B, got 'audio'",
        ),
        (["trainer.keep_best=loss"], "expected val/PAIR/r1, r5 or r10, got 'loss': write e.g. val/image-text/r10"),
        (
            ["trainer.keep_best=val/audio-text/r10"],
            "this run does not train audio-text, and weights selected by its metric",
        ),
        (
            ["trainer.keep_best=val/audio-text/r10", "trainer.keep_best_untrained=true"],
            "is not measured: add trainer.val_pairs=[audio-text]",
        ),
        (["data=manifest"], "no training data: write 'data.train=[{path: my/manifest.jsonl}]'"),
        (["data=manifest", "data.train=[{path: A, weight: 0}]"], "data.train.0.weight: expected more than 0, got 0"),
        (["run=/nowhere/at/all"], "there is no such folder: give the folder of a run"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_before_anything_is_written(
    refused, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused("train", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("yaml", "sentences"),
    [
        (
            "modality:\n  audoi:\n    width: 1\n",
            ["unknown modality 'audoi': did you mean 'audio'?", "`bindspace plugins`"],
        ),
        ("modality:\n  imu:\n    width: 1\n", ["modality 'imu' is not selected", "add it with +modality=imu"]),
        (
            "modality:\n  audio:\n    widht: 1\n",
            ["mine.yaml: modality.audio: unknown setting 'widht': did you mean 'width'"],
        ),
        ("loss:\n  temprature: 1\n", ["mine.yaml: loss: unknown setting 'temprature': did you mean 'temperature'"]),
        ("sed: 1\n", ["mine.yaml: unknown setting 'sed': did you mean 'seed'?"]),
        ("seed: soon\n", ["mine.yaml: seed: ", "'soon'"]),
        ("seed: [1\n", ["cannot read a config file", "mine.yaml, line 3"]),
        ("defaults:\n  - override /modality: [image, audoi]\n", ["unknown modality 'audoi': did you mean 'audio'?"]),
        ("defaults:\n  - override /los: fixed\n", ["mine.yaml: unknown group 'los': did you mean 'loss'?"]),
        ("defaults:\n  - override /loss: fixd\n", ["unknown option of loss 'fixd': did you mean 'fixed'?"]),
    ],
)
def test_a_typo_in_an_experiment_file_is_found_too(refused, tmp_path, yaml, sentences):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{yaml}")
    sentence = refused("train", f"--config-dir={tmp_path}", "experiment=mine")
    for part in sentences:
        assert part in sentence


def test_a_plugin_that_does_not_load_is_named_with_the_reason_when_it_is_asked_for(call, refused, install):
    install("bindspace-bad", {"bindspace_bad/__init__.py": "import nowhere"}, bad="bindspace_bad:BadConfig")
    assert "plugin 'bad' of bindspace-bad does not load: ModuleNotFoundError" in refused("train", "+modality=bad")
    assert call("train", "--cfg", "job").code == 0


def test_a_preset_of_a_plugin_that_does_not_load_gives_the_same_reason(refused, install):
    preset = "# @package modality.bad\ndefaults: [bad, _self_]\n"
    files = {"bindspace_bad/__init__.py": "import nowhere", "bindspace_bad/conf/modality/bad_big.yaml": preset}
    install("bindspace-bad", files, bad="bindspace_bad:BadConfig")
    assert "plugin 'bad' of bindspace-bad does not load: ModuleNotFoundError" in refused("train", "+modality=bad_big")


def test_a_data_set_that_does_not_load_is_named_with_the_reason(refused, install):
    files = {"bindspace_bad/__init__.py": "import nowhere"}
    install("bindspace-bad", files, group="bindspace.datasets", moon="bindspace_bad:MoonConfig")
    assert "plugin 'moon' of bindspace-bad does not load: ModuleNotFoundError" in refused("train", "data=moon")
    assert "plugin 'moon' of bindspace-bad does not load: ModuleNotFoundError" in refused("moon", "out=x")


def test_settings_of_a_type_that_no_config_holds_are_the_plugins_fault(refused, install):
    code = EAR + "    mode: set = __import__('dataclasses').field(default_factory=set)\n"
    install("bindspace-ear", {"bindspace_ear/__init__.py": code}, ear="bindspace_ear:EarConfig")
    assert "a setting of type <class 'set'> cannot be kept in a file" in refused("train", "modality=[image,ear]")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("# @package modality.audio\nwidth: 9\n", "has no `defaults: [<implementation>, _self_]`: add it"),
        ("defaults: [ear, _self_]\nwidth: 9\n", "does not begin with `# @package modality.<modality>`: add that line"),
        ("# @package modality.audio\ndefaults: [ear, _self_]\nwidht: 9\n", "modality.audio: unknown setting 'widht'"),
        ("# @package modality.audio\ndefaults: [era, _self_]\n", "unknown modality 'era'"),
    ],
)
def test_a_preset_with_a_mistake_is_refused(refused, install, text, sentence):
    files = {"bindspace_ear/__init__.py": EAR, "bindspace_ear/conf/modality/ear_wide.yaml": text}
    install("bindspace-ear", files, ear="bindspace_ear:EarConfig")
    assert sentence in refused("train", "modality=[image,ear_wide]")


def test_two_implementations_of_one_modality_are_answered_with_the_list_that_replaces(refused, install):
    install("bindspace-ear", {"bindspace_ear/__init__.py": EAR}, ear="bindspace_ear:EarConfig")
    sentence = refused("train", "+modality=ear")
    assert sentence == "'audio' and 'ear' both serve 'audio': write 'modality=[image,text,ear]'"


def test_a_preset_that_two_packages_bring_names_both(refused, install):
    preset = "# @package modality.audio\ndefaults: [{}, _self_]\n"
    for name in ("ear", "eye"):
        files = {f"bindspace_{name}/__init__.py": EAR, f"bindspace_{name}/conf/modality/wide.yaml": preset.format(name)}
        install(f"bindspace-{name}", files, **{name: f"bindspace_{name}:EarConfig"})
    sentence = refused("train", "modality=[image,wide]")
    assert "the preset 'wide' is provided by bindspace-ear and bindspace-eye" in sentence


def test_an_unknown_verb_is_answered_with_the_closest_one_and_the_list(refused):
    sentence = refused("trian")
    head, listed = sentence.split("(available: ")
    assert head == "unknown command 'trian': did you mean 'train'? "
    names = listed.split(")")[0].split(", ")
    assert names == sorted([*cli.VERBS, *registry.installed(registry.DATASETS)])
    assert {"train", "world", "esc50"} <= {*names}

"""The grammar that the design promises, as composed by the code that every run goes through."""

from __future__ import annotations

from dataclasses import is_dataclass

import pytest

from bindspace.cli.compose.compose import compose_train
from bindspace.contract.dataset import Augment
from bindspace.contract.modality import Head, Size
from bindspace.settings.pairs import resolve_pairs
from bindspace.settings.run import Precision, TrainRun

SIZED = """
from dataclasses import dataclass
from bindspace import ModalityConfig
@dataclass(kw_only=True)
class RadarConfig(ModalityConfig):
    '''A stranger.'''
    modality = "radar"
    expects = "echoes"
    sizes = {"small": {"width": 300}, "base": {"width": 800, "stages": [1, 2]}}
    stages: list[int] | None = None
    layers: int = 2
    def __post_init__(self):
        if self.layers > 9:
            raise ValueError(f"radar has at most 9 layers, got {self.layers}")
"""
WIDE = "# @package modality.radar\ndefaults: [radar, _self_]\nlayers: 7\n"


@pytest.fixture
def radar(install):
    """A stranger's package with a preset."""
    files = {"bindspace_radar/__init__.py": SIZED, "bindspace_radar/conf/modality/radar_deep.yaml": WIDE}
    install("bindspace-radar", files, radar="bindspace_radar:RadarConfig")


def run_of(*arguments: str) -> TrainRun:
    """The run that these overrides ask for."""
    return compose_train(arguments)[0]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["image", "text", "audio"]),
        (["modality=[image,imu]"], ["image", "imu"]),
        (["modality=[]"], []),
        (["modality=depth"], ["depth"]),
        (["+modality=depth"], ["image", "text", "audio", "depth"]),
        (["+modality=[depth,imu]"], ["image", "text", "audio", "depth", "imu"]),
        (["modality=[image,depth_vit]", "+modality=imu"], ["image", "depth", "imu"]),
        (["~modality.audio"], ["image", "text"]),
        (["~modality.audio", "+modality=imu"], ["image", "text", "imu"]),
        (["experiment=quickstart"], ["image", "text", "audio", "depth", "thermal", "imu"]),
        (["experiment=quickstart", "modality=[image,text]"], ["image", "text"]),
        (["experiment=quickstart", "~modality.imu"], ["image", "text", "audio", "depth", "thermal"]),
        (["experiment=supervised", "+modality=image"], ["text", "audio", "image"]),
    ],
)
def test_the_list_of_modalities_is_replaced_extended_and_shortened(arguments, names):
    assert list(run_of(*arguments).modality) == names


def test_a_run_is_plain_dataclasses_all_the_way_down():
    run = run_of("modality.image.width=99", "modality.image.head=mlp", "modality.text.tune.lr=0.5")
    assert isinstance(run, TrainRun)
    assert all(is_dataclass(config) and config.modality == name for name, config in run.modality.items())
    assert run.modality["image"].width == 99
    assert run.modality["image"].head is Head.mlp
    assert run.modality["text"].tune.lr == 0.5
    assert run.modality["audio"].tune.lr == 1.0
    assert run.size is Size.tiny
    assert type(run.modality) is dict
    assert type(run.stages) is list


def test_one_dial_moves_towers_space_batch_and_steps_and_each_can_still_be_set(radar):
    runs = {size: run_of("+modality=radar", f"size={size}") for size in ("tiny", "small", "base")}
    assert [run.modality["radar"].width for run in runs.values()] == [256, 300, 800]
    assert [run.modality["radar"].stages for run in runs.values()] == [None, None, [1, 2]]
    assert [run.modality["radar"].layers for run in runs.values()] == [2, 2, 2]
    for values in zip(*[(run.dim, run.data.batch, run.stages[0].steps, run.stages[1].steps) for run in runs.values()]):
        assert values[0] < values[1] < values[2]
    run = run_of("+modality=radar", "size=base", "modality.radar.width=512", "dim=64", "stages.1.steps=9")
    assert (run.modality["radar"].width, run.dim, run.stages[1].steps) == (512, 64, 9)


def test_a_preset_of_a_stranger_is_chosen_like_an_implementation(radar):
    run = run_of("modality=[image,radar_deep]", "size=small")
    assert (run.modality["radar"].layers, run.modality["radar"].width) == (7, 300)


def test_a_plugins_own_check_of_its_settings_is_a_users_mistake(radar, refused):
    sentence = refused("train", "+modality=radar", "modality.radar.layers=10")
    assert sentence == "modality.radar: radar has at most 9 layers, got 10"


def test_an_experiment_sets_scalars_size_and_settings_of_modalities_and_the_command_line_wins(tmp_path, radar):
    (tmp_path / "experiment").mkdir()
    text = """# @package _global_
defaults:
  - override /modality: [image, audio]
  - override /schedule: joint
seed: 5
size: small
loss: {temperature: 0.2}
modality: {audio: {width: 33}}
"""
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    run, composed = compose_train(["experiment=mine"], [tmp_path])
    assert (run.seed, run.size, run.loss.temperature, run.modality["audio"].width) == (5, Size.small, 0.2, 33)
    assert run.modality["image"].width == run_of("size=small").modality["image"].width
    assert [stage.name for stage in run.stages] == ["joint"]
    assert composed.experiment == "mine"
    run, _ = compose_train(["experiment=mine", "seed=6", "+modality=radar", "modality.audio.width=34"], [tmp_path])
    assert (run.seed, list(run.modality), run.modality["audio"].width) == (6, ["image", "audio", "radar"], 34)


def test_adding_a_modality_keeps_what_the_experiment_set_for_it(tmp_path, radar):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodality: {radar: {layers: 8}}\n")
    run, _ = compose_train(["experiment=mine", "+modality=radar"], [tmp_path])
    assert run.modality["radar"].layers == 8


def test_a_preset_of_ones_own_folder_is_chosen_by_name(tmp_path):
    (tmp_path / "modality").mkdir()
    (tmp_path / "modality" / "ears.yaml").write_text(
        "# @package modality.audio\ndefaults: [audio, _self_]\nwidth: 77\n"
    )
    run, _ = compose_train(["modality=[image,ears]"], [tmp_path])
    assert run.modality["audio"].width == 77


def test_sources_pairs_and_other_lists_of_settings_are_typed():
    run = run_of(
        "data=manifest",
        "data.train=[{path: A},{path: B, where: {split: train}, read: {depth: {unit: mm}}, augment: strong}]",
        "pairs=[{of: [audio,text], weight: 1.0, temperature: 0.07}]",
        "optim.betas=[0.8,0.9]",
        "trainer.precision=bf16",
        "benchmark.templates={label: ['the {}']}",
        "data.train.0.where.kind=dog",
    )
    a, b = run.data.train
    assert (a.path, a.where, b.where, b.read, b.augment) == (
        "A", {"kind": "dog"}, {"split": "train"}, {"depth": {"unit": "mm"}}, Augment.strong,
    )  # fmt: skip
    assert run.pairs is not None
    assert (run.pairs[0].of, run.pairs[0].temperature) == (["audio", "text"], 0.07)
    assert list(run.optim.betas) == [0.8, 0.9]
    assert run.trainer.precision is Precision.bf16
    assert run.benchmark.templates["label"] == ["the {}"]


def test_pairs_default_to_the_star_round_the_pivot_with_the_bind_settings():
    run = run_of(
        "modality.audio.bind.weight=2", "modality.audio.bind.temperature=0.2", "modality.text.bind.learned=false"
    )
    text, audio = resolve_pairs(run)
    assert (text.of, text.weight, text.temperature, text.learned) == (["image", "text"], 1.0, None, False)
    assert (audio.of, audio.weight, audio.temperature, audio.learned) == (["image", "audio"], 2.0, 0.2, None)
    assert [pair.of for pair in resolve_pairs(run_of("pivot=text"))] == [["text", "image"], ["text", "audio"]]


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("loss=fixed", "loss.learned", False),
        ("optim=finetune", "optim.lr", 1e-4),
        ("trainer=cpu", "trainer.accelerator", "cpu"),
        ("logger=csv", "logger.tensorboard", False),
        ("data=manifest", "data.dataset", None),
    ],
)
def test_the_options_of_each_group_change_what_they_say(option, key, value):
    chosen, default = run_of(option), run_of()
    for part in key.split("."):
        chosen, default = getattr(chosen, part), getattr(default, part)
    assert chosen == value
    assert default != value


def test_the_data_set_of_a_run_is_its_own_dataclass_with_typed_settings():
    run = run_of("data.dataset.train_events=12")
    assert run.data.dataset.train_events == 12
    assert type(run.data.dataset).__name__ == "WorldConfig"


def test_composing_twice_in_one_process_sees_plugins_come_and_go(radar):
    assert "radar" in run_of("+modality=radar").modality
    assert "radar" not in run_of().modality

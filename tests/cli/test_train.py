"""`bindspace train` from the command line to the door of training: folder, config.yaml, relaunch, resume, sweeps."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from bindspace.cli import train
from bindspace.cli.compose import sweep
from bindspace.cli.compose.compose import compose_train
from bindspace.cli.compose.run_file import load_run, save_run
from bindspace.contract.errors import UserError

MANIFEST = ["data=manifest", "data.train=[{path: A}]"]
MOON = """
from dataclasses import dataclass
from bindspace import DatasetConfig
from bindspace import UserError
from bindspace import Source
@dataclass(kw_only=True)
class MoonConfig(DatasetConfig):
    '''Rows of the moon.'''
    craters: int = 3  # how many
    def rows(self, split):
        return iter(())
    def write(self, out):
        if self.craters < 0:
            raise UserError(f"craters: expected 0 or more, got {self.craters}")
        out.mkdir(parents=True)
        (out / "manifest.jsonl").write_text(str(self.craters))
        return out / "manifest.jsonl"
    def sources(self, pairs, modalities):
        path = "+".join("-".join(pair) for pair in pairs) + ":" + ",".join(modalities)
        return {"train": [Source(path)], "test": [Source("test")]}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.fixture
def moon(install):
    """A stranger's data set."""
    install("bindspace-moon", {"bindspace_moon.py": MOON}, group="bindspace.datasets", moon="bindspace_moon:MoonConfig")


def test_a_run_gets_a_folder_of_its_own_with_its_config_and_latest_points_at_the_newest(call, training):
    assert call("train", *MANIFEST).code == 0
    assert call("train", *MANIFEST).code == 0
    folders = [folder for _, _, folder, _ in training]
    assert folders[0] != folders[1]
    for folder in folders:
        assert folder.parent == Path("outputs/default").absolute()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d)?", folder.name)
        assert load_run(folder / "config.yaml").data.train[0].path == "A"
    assert Path("outputs/default/latest").resolve() == folders[1]


def test_the_experiment_names_the_folder(call, training, moon):
    assert call("train", "experiment=quickstart", "data=moon").code == 0
    assert training[0][2].parent == Path("outputs/quickstart").absolute()


def test_out_chooses_the_folder_and_leaves_latest_alone(call, training):
    assert call("train", *MANIFEST, "out=here/it is").code == 0
    assert training[0][2] == Path("here/it is").absolute()
    assert not Path("outputs").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(call, refused, training):
    assert call("train", *MANIFEST, "out=mine").code == 0
    before = Path("mine/config.yaml").read_text()
    assert "holds a run already: resume it with run=" in refused("train", *MANIFEST, "out=mine", "seed=1")
    assert Path("mine/config.yaml").read_text() == before
    assert len(training) == 1


@pytest.fixture
def refusing(monkeypatch):
    """Lets training refuse its data, after it has left the given files."""

    def refuse(*files: str) -> None:
        def start(run, pairs, folder):
            for name in ("environment.json", *files):
                (folder / name).write_text("{}")
            raise UserError("the data is not good")

        monkeypatch.setattr(sys.modules["bindspace.training.run"], "train", start)

    return refuse


def test_a_run_that_is_refused_at_its_start_leaves_nothing_and_latest_as_it_was(call, refused, training, refusing):
    call("train", *MANIFEST)
    before = sorted(Path("outputs/default").iterdir())
    refusing()
    for out in ([], ["out=deep/mine"], ["experiment=supervised"]):
        assert refused("train", *MANIFEST, *out) == "the data is not good"
    assert sorted(Path("outputs/default").iterdir()) == before
    assert Path("outputs/default/latest").resolve() == training[0][2]
    assert [path.name for path in Path("outputs").iterdir()] == ["default"]
    assert [path.name for path in Path().iterdir()] == ["outputs"]


def test_a_folder_that_was_there_and_a_list_of_bad_rows_stay(refused, refusing):
    refusing()
    Path("mine").mkdir()
    refused("train", *MANIFEST, "out=mine")
    assert list(Path("mine").iterdir()) == []
    refusing("bad_rows.jsonl")
    refused("train", *MANIFEST, "out=mine")
    assert {path.name for path in Path("mine").iterdir()} == {"bad_rows.jsonl", "config.yaml", "environment.json"}


def test_something_in_the_way_of_latest_is_named(refused):
    Path("outputs/default/latest").mkdir(parents=True)
    assert "is in the way of the link to the newest run" in refused("train", *MANIFEST)


def test_a_folder_that_cannot_be_made_is_a_sentence(refused):
    Path("file").write_text("")
    assert "cannot make the run folder" in refused("train", *MANIFEST, "out=file/run")


def test_a_data_set_writes_the_sources_that_training_reads(call, training, moon):
    assert call("train", "data=moon", "data.dataset.craters=5", "modality=[image,audio]", "out=mine").code == 0
    run = training[0][1]
    assert [source.path for source in run.data.train] == ["image-audio:image,audio"]
    assert [source.path for source in run.data.test] == ["test"]
    again = load_run("mine/config.yaml")
    assert (again.data.dataset.craters, again.data.train) == (5, run.data.train)


def test_manifests_beside_a_data_set_are_refused(refused, moon):
    assert "come with data=manifest" in refused("train", "data=moon", "data.train=[{path: A}]")


@pytest.mark.filterwarnings("default")
def test_a_modality_in_no_pair_is_said_to_stay_untrained(call):
    outcome = call("train", *MANIFEST, "pairs=[{of: [audio,text]}]")
    assert outcome.code == 0
    assert outcome.err == "bindspace: no pair contains image, so it is not trained: leave it out of modality\n"


def test_further_ranks_are_started_with_the_whole_command_and_the_folder_of_the_first(call, training, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bindspace", "untouched"])
    assert call("train", *MANIFEST, "+modality=depth").code == 0
    assert call("train", *MANIFEST, "out='it\\'s here'").code == 0
    assert sys.argv == ["bindspace", "untouched"]
    _, _, folder, argv = training[0]
    assert argv == ["bindspace", "train", *MANIFEST, "+modality=depth", f"out='{folder}'"]
    _, _, folder, argv = training[1]
    assert compose_train(argv[2:])[0].out == str(folder)


def test_a_further_rank_uses_the_folder_that_is_there_and_writes_no_config(call, training, monkeypatch):
    assert call("train", *MANIFEST, "out=mine").code == 0
    before = Path("mine/config.yaml").stat().st_mtime_ns
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert call("train", *MANIFEST, "out=mine").code == 0
    assert training[0][2] == training[1][2]
    assert Path("mine/config.yaml").stat().st_mtime_ns == before


def test_a_requeued_job_goes_on_with_a_run_of_the_same_settings_only(call, refused, training, monkeypatch):
    assert call("train", *MANIFEST, "out=mine").code == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert call("train", *MANIFEST, "out=mine").code == 0
    name, run, folder, argv = training[1]
    assert (name, run, folder) == ("resume", training[0][1], training[0][2])
    assert argv[1:] == ["train", f"run='{folder}'"]  # further ranks go on too
    assert "holds a run of other settings" in refused("train", *MANIFEST, "out=mine", "seed=1")
    assert call("train", *MANIFEST, "out=new").code == 0
    assert [name for name, *_ in training] == ["train", "resume", "train"]


def test_further_ranks_are_bindspace_whatever_program_called_it(call, training, monkeypatch):
    found = []
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", find_spec("json.tool"))
    start = lambda run, pairs, folder: found.append(sys.modules["__main__"].__spec__.name)  # noqa: E731
    monkeypatch.setattr(sys.modules["bindspace.training.run"], "train", start)
    assert call("train", *MANIFEST, "out=mine").code == 0
    assert found == ["bindspace.__main__"]
    assert sys.modules["__main__"].__spec__.name == "json.tool"


def test_too_few_processes_are_said_before_a_folder_is_made(refused, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "torchrun started 2 processes" in refused("train", *MANIFEST, "out=mine")
    assert not Path("mine").exists()


def test_cfg_prints_the_config_and_does_nothing(call, training):
    outcome = call("train", "--cfg", "job", "size=base")
    assert yaml.safe_load(outcome.out)["dim"] == "${sized:128,256,512}"
    outcome = call("train", "--cfg=job", "--resolve", "size=base")
    values = yaml.safe_load(outcome.out)
    assert (values["dim"], values["pivot"], list(values["modality"])) == (512, "image", ["image", "text", "audio"])
    assert "hydra" not in values
    assert training == []
    assert list(Path().iterdir()) == []


# --- config.yaml and resume


def test_a_saved_run_comes_back_as_it_was(tmp_path, moon):
    arguments = [
        "modality=[image,text,depth_vit]",
        "size=small",
        "data=moon",
        "pairs=[{of: [text,depth], temperature: 0.2}]",
        "modality.image.bind.weight=1e-5",
        "benchmark.templates={label: ['a \"{}\": ü']}",
    ]
    run = compose_train(arguments)[0]
    again = load_run(save_run(run, tmp_path / "config.yaml"))
    assert again == run
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert values["implementations"] == {"image": "image", "text": "text", "depth": "depth"}
    assert values["data"]["dataset"]["use"] == "moon"


def damage(change) -> None:
    """Writes a run and changes what its file says."""
    save_run(compose_train([*MANIFEST, "modality=[image,text]"])[0], "config.yaml")
    values = yaml.safe_load(Path("config.yaml").read_text())
    change(values)
    Path("config.yaml").write_text(yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda values: values.pop("implementations"), "is damaged: expected `implementations` and `modality`"),
        (lambda values: values["modality"].pop("text"), "is damaged: expected `implementations` and `modality`"),
        (lambda values: values["implementations"].update(text="txet"), "unknown modality 'txet': did you mean 'text'?"),
        (
            lambda values: values["implementations"].update(text="image"),
            "is damaged: 'image' serves 'image', not 'text'",
        ),
        (
            lambda values: values["modality"]["text"].update(_target_="os.system"),
            "modality.text: unknown setting '_target_'",
        ),
        (lambda values: values.update(_target_="os.system"), "does not fit this version of bindspace"),
        (lambda values: values.update(pivot="${oc.env:HOME}"), "holds an interpolation ('${oc.env:HOME}')"),
        (lambda values: values["data"]["train"][0].update({"${x}": 1}), "holds an interpolation ('${x}')"),
        (
            lambda values: values.update(dim="wide"),
            "does not fit this version of bindspace: dim: expected a whole number, got 'wide'",
        ),
        (lambda values: values["modality"].update(text=[]), "does not fit this version of bindspace"),
    ],
)
def test_a_config_that_was_tampered_with_is_refused_in_one_sentence(change, sentence):
    damage(change)
    with pytest.raises(UserError) as error:
        load_run("config.yaml")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- a list", "a: [1", "a: !!python/object/apply:os.system [ls]", "\xff"])
def test_a_config_that_is_no_mapping_in_yaml_is_refused(text):
    Path("config.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.yaml is damaged: .*start the run anew with out="):
        load_run("config.yaml")


def test_a_run_goes_on_with_what_may_change(call, training):
    call("train", *MANIFEST, "out=mine")
    outcome = call(
        "train", "run=mine", "stages.0.steps=900", "data.workers=3", "logger.tensorboard=false", "trainer.devices=2"
    )
    assert outcome.code == 0
    name, run, folder, _ = training[1]
    assert (name, folder) == ("resume", Path("mine").absolute())
    assert (run.stages[0].steps, run.data.workers, run.logger.tensorboard, run.trainer.devices) == (900, 3, False, 2)
    assert load_run("mine/config.yaml").stages[0].steps == 900


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["seed=3"], "unknown setting that may change when a run is resumed 'seed'"),
        (["modality=[image]"], "the weights depend on all others, so start a new run"),
        (["data.wrokers=3"], "did you mean 'data.workers'?"),
        (["stages.9.steps=3"], "stages.9.steps: cannot be 3"),
        (["data.workers=many"], "data.workers: expected a whole number, got 'many'"),
        (["data.workers=-1"], "data.workers: expected 0 or more, got -1"),
        (["+data.workers=1"], "write 'data.workers=value'"),
        (["data.workers=1", "data.workers=2"], "data.workers is given twice"),
    ],
)
def test_a_run_does_not_go_on_with_what_its_weights_depend_on(call, refused, training, changes, sentence):
    call("train", *MANIFEST, "out=mine")
    before = Path("mine/config.yaml").read_text()
    assert sentence in refused("train", "run=mine", *changes)
    assert Path("mine/config.yaml").read_text() == before
    assert len(training) == 1


def test_a_folder_without_a_config_is_no_run(refused):
    Path("empty").mkdir()
    assert "is not a run folder: cannot read config.yaml" in refused("train", "run=empty")


# --- sweeps


def test_a_sweep_runs_each_combination_in_a_folder_of_its_own(call, training, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bindspace", "untouched"])
    outcome = call("train", "-m", *MANIFEST, "modality=[image,text],[image,text,audio]", "seed=1,2", "out=all of them")
    assert outcome.code == 0, outcome.err
    found = [(list(run.modality), run.seed, folder.relative_to(Path.cwd())) for _, run, folder, _ in training]
    assert found == [
        (["image", "text"], 1, Path("all of them/0")),
        (["image", "text"], 2, Path("all of them/1")),
        (["image", "text", "audio"], 1, Path("all of them/2")),
        (["image", "text", "audio"], 2, Path("all of them/3")),
    ]
    for number in range(4):
        folder = Path("all of them") / str(number)
        assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    argv = training[2][3]
    assert argv[:2] == ["bindspace", "train"]
    run = compose_train(argv[2:])[0]
    assert (list(run.modality), run.seed, run.out) == (["image", "text", "audio"], 1, str(training[2][2]))


def test_the_same_sweep_goes_on_and_one_of_other_settings_is_refused(call, training, capsys):
    sweep_of = ["train", "-m", *MANIFEST, "modality=[image,text]", "out=all", "hydra.job.name=mine"]
    assert call(*sweep_of, "seed=1,2").code == 0
    assert call(*sweep_of, "seed=1,2").code == 0
    assert [name for name, *_ in training] == ["train", "train", "resume", "resume"]
    assert [run.seed for _, run, *_ in training] == [1, 2, 1, 2]
    outcome = call(*sweep_of, "seed=3,4")
    assert (outcome.code, "holds a run of other settings" in outcome.err) == (2, True)


def test_a_sweep_is_named_after_its_experiment(call, training, moon):
    assert call("train", "--multirun", "experiment=quickstart", "data=moon", "seed=range(2)").code == 0
    assert [folder.parent.parent.name for _, _, folder, _ in training] == ["quickstart", "quickstart"]


def test_a_typo_in_any_job_stops_a_sweep_before_its_first(refused, training):
    assert "did you mean 'audio'?" in refused("train", "-m", *MANIFEST, "modality=[image,text],[image,audoi]")
    assert "data.batch: expected 2 or more" in refused("train", "-m", *MANIFEST, "data.batch=8,1")
    assert training == []
    assert list(Path().iterdir()) == []


def test_a_sweep_without_several_values_is_refused(refused):
    assert "-m needs a setting with several values" in refused("train", "-m", *MANIFEST)
    assert "needs a sweeper that knows intervals" in refused("train", "-m", *MANIFEST, "optim.lr=interval(0,1)")


def test_a_sweeps_jobs_are_the_product_of_all_values():
    assert sweep.jobs(sweep.parse(["a=1,2", "b=x", "c=[1,2],[3]"])) == [
        ["a=1", "b=x", "c=[1,2]"],
        ["a=1", "b=x", "c=[3]"],
        ["a=2", "b=x", "c=[1,2]"],
        ["a=2", "b=x", "c=[3]"],
    ]


# --- data sets as verbs


def test_a_data_set_is_a_verb(call, moon):
    outcome = call("moon", "out=there", "craters=4")
    assert (outcome.code, outcome.out.strip()) == (0, "there/manifest.jsonl")
    assert Path("there/manifest.jsonl").read_text() == "4"
    text = call("moon", "--help").out
    assert "Rows of the moon." in text
    assert "craters=3  # how many" in text
    assert "moon" in call("--help").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "out is missing: write bindspace moon out=DIR"),
        (["out=a", "crater=4"], "unknown setting 'crater': did you mean 'craters'?"),
        (["out=a", "craters=many"], "craters: expected a whole number, got 'many'"),
        (["out=a", "craters=-1"], "craters: expected 0 or more, got -1"),
        (["out=a", "+craters=1"], "write 'craters=value'"),
    ],
)
def test_a_data_set_names_its_typos(refused, moon, arguments, sentence):
    assert sentence in refused("moon", *arguments)
    assert list(Path().iterdir()) == [Path("site")]


def test_relaunching_restores_the_command_after_an_error(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bindspace", "untouched"])
    with pytest.raises(RuntimeError):
        fail_within(train.relaunchable(["seed=1", "hydra.verbose=true"], [Path("conf")], Path("/a")))
    assert sys.argv == ["bindspace", "untouched"]


def fail_within(context) -> None:
    """Looks at the command within the context, then fails."""
    with context:
        assert sys.argv == ["bindspace", "train", f"--config-dir={Path('conf').resolve()}", "seed=1", "out='/a'"]
        raise RuntimeError

"""`suite=imagebind`: the paper's table, on small folders in the owners' layout and a small random space."""

from __future__ import annotations

from pathlib import Path

import pytest
from owners_sounds import SETS
from running_suites import measured, random_space

from bindspace.cli import main

SOURCES = {f"arXiv:2305.05665, table {number}" for number in (2, 3, 4)}
SOUNDS = ["audioset", "vggsound", "esc50", "clotho", "clotho", "audiocaps", "audiocaps", *["msrvtt"] * 3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_every_set_of_sounds_gives_its_figures_and_the_rest_is_blank(capsys):
    for name, make in SETS.items():
        make(Path("data") / name)
    random_space(["audio", "text"])
    code, cells = measured("space=space", "data_root=data")
    assert code == 0
    assert [cell["dataset"] for cell in cells if not cell["blank"]] == SOUNDS
    assert {cell["source"] for cell in cells} == SOURCES
    for cell in cells:
        if cell["blank"]:
            assert cell["ours"] is None
            assert cell["blank"].startswith("the space has no ")
        else:
            assert 0 <= cell["ci95"][0] <= cell["ours"] <= cell["ci95"][1] <= 1
            assert (cell["status"], cell["gallery_size" if "recall" in cell["metric"] else "classes"] >= 2) == (
                "unlinked",
                True,
            )
    sizes = {(cell["dataset"], cell["metric"]): (cell["n"], cell["left_out"]) for cell in cells if not cell["blank"]}
    assert sizes["clotho", "recall@1"] == sizes["clotho", "recall@10"] == (10, 0)
    assert sizes["audiocaps", "recall@1"] == (10, 0)
    assert sizes["esc50", "accuracy"] == (6, 0)
    assert sizes["vggsound", "accuracy"] == (2, 1)
    assert sizes["msrvtt", "recall@5"] == (2, 1)
    printed = capsys.readouterr().out
    assert "66.9" in printed
    assert "blank: llvip, thermal → text: the space has no thermal" in printed
    assert "| esc50 | audio → text | accuracy | 66.9 |" in Path("out/report.md").read_text()


def test_the_figure_of_esc50_is_that_of_its_nearest_prompts():
    """Worked out again from vectors: 80 templates a class, averaged as unit vectors, and the nearest class."""
    from bindspace import load
    from bindspace.benchmark.prompting import expand

    folder = SETS["esc50"](Path("data/esc50"))
    space = load(random_space(["audio", "text"]))
    _, cells = measured("space=space", "data_root=data")
    ours = next(cell["ours"] for cell in cells if cell["dataset"] == "esc50")
    classes = ["chirping birds", "dog", "rain"]
    templates = expand({"label": ["clip"]})["label"]
    assert len(templates) == 80
    prompts = [template.replace("{}", name) for name in classes for template in templates]
    centres = space.embed(text=prompts)["text"].view(3, 80, -1).mean(1)
    clips = sorted((folder / "audio").iterdir())
    z = space.embed(audio=[str(clip) for clip in clips])["audio"]
    named = [classes[i] for i in (z @ (centres / centres.norm(dim=1, keepdim=True)).T).argmax(1)]
    target = {"0": "dog", "14": "chirping birds", "10": "rain"}
    right = [target[clip.stem.rsplit("-", 1)[1]] == name for clip, name in zip(clips, named)]
    assert ours == pytest.approx(sum(right) / 6)


def test_what_is_not_downloaded_is_told_with_its_address(capsys):
    SETS["clotho"](Path("data/clotho"))
    random_space(["audio", "text", "image"])
    code, cells = measured("space=space", "data_root=data")
    assert code == 0
    blank = {cell["dataset"]: cell["blank"] for cell in cells}
    assert blank["clotho"] is None
    assert blank["esc50"] == (
        "ESC-50: expected its list of clips at data/esc50/meta/esc50.csv: download it from "
        "https://github.com/karolpiczak/ESC-50 and unpack it so that data/esc50 holds meta/esc50.csv"
    )
    assert blank["places365"] == "no plugin provides the data set 'places365'"


def test_the_same_folder_measured_again_gives_the_same_report():
    SETS["esc50"](Path("data/esc50"))
    random_space(["audio", "text"])
    assert measured("space=space", "data_root=data") == measured("space=space", "data_root=data", "cache=vectors")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["suite=imagebind"], "data_root=None: expected a folder that holds each data set of the table in a folder of"),
        (["suite=imagebind", "data_root=nowhere"], "data_root=nowhere: expected a folder that holds each data set"),
        (
            ["suite=imagebind", "data_root=.", "data.test=[{path: x}]"],
            "a suite of published results uses its own data sets",
        ),
        (["suite=imagebind", "data_root=.", "data=world"], "a suite of published results uses its own data sets"),
        (["data_root=.", "data=world"], "data_root has no effect without a table of published results: choose one"),
        (["suite=imagebnd", "data_root=."], "unknown option of suite 'imagebnd': did you mean 'imagebind'?"),
    ],
)
def test_a_suite_without_its_data_or_with_others_is_refused(arguments, sentence, capsys):
    random_space(["audio", "text"])
    assert main(["benchmark", "space=space", "out=out", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("out").exists()


def test_training_leaves_the_suite_to_the_benchmark(capsys):
    assert main(["train", "suite=imagebind", "data=world", "out=out"]) == 2
    assert "a table of published results is measured by `bindspace benchmark`" in capsys.readouterr().err
    assert not Path("out").exists()

"""A wheel built from the tree, installed outside the checkout, trains and measures."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from running import bindspace, fresh_venv

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An interpreter that has the wheel."""
    return fresh_venv(tmp_path_factory.mktemp("elsewhere") / "venv", wheel)


def test_the_wheel_holds_the_configs_of_core_and_plugins_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"bindspace/{path.relative_to(ROOT)}" for path in ROOT.glob("conf/**/*.yaml")}
    presets = {str(path.relative_to(ROOT / "plugins")) for path in ROOT.glob("plugins/*/conf/**/*.yaml")}
    assert configs
    assert presets
    templates = {str(path.relative_to(ROOT)) for path in ROOT.glob("bindspace/templates/*/*")}
    assert len(templates) == 15
    assert configs | presets | templates <= names
    packages = {path.name for path in ROOT.glob("plugins/bindspace_*")} | {"bindspace"}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == packages
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest"))]


def test_it_trains_and_measures_outside_the_checkout(python, sources, tmp_path):
    asked = "import bindspace, bindspace_audio; print(bindspace.__file__); print(bindspace_audio.__file__)"
    where = subprocess.run([python, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert all(Path(line).is_relative_to(Path(python).parents[1]) for line in where.split())
    listing = bindspace("plugins", cwd=tmp_path, python=python).stdout
    assert all(name in listing for name in ("audio", "audio_scenes", "world"))
    bindspace("world", "out=pool", "events=4", "modalities=[image,text,audio]", cwd=tmp_path, python=python)
    assert (tmp_path / "pool" / "manifest.jsonl").read_text().count("\n") == 4
    bindspace("train", *sources, "out=run", cwd=tmp_path, python=python)
    test = next(item for item in sources if item.startswith("data.test="))
    bindspace("benchmark", "space=run/space", test, "out=again", cwd=tmp_path, python=python)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("run/benchmark", "again")]
    assert {cell["status"] for cell in reports[0]["pairs"]} == {"trained", "emergent"}
    assert reports[0]["protocol"]["hash"] == reports[1]["protocol"]["hash"]
    assert [cell["recall"] for cell in reports[0]["pairs"]] == [cell["recall"] for cell in reports[1]["pairs"]]
    assert {path.name for path in tmp_path.iterdir()} == {"pool", "run", "again"}

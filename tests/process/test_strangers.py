"""Packages of strangers, built and installed next to our wheel: good ones work, broken ones are named and stop none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from running import bindspace, build_wheel, fresh_venv, quiet_environment

pytestmark = pytest.mark.process
PACKAGES = Path(__file__).parents[1] / "packages"
SMALL = [
    "data.dataset.train_events=24", "data.dataset.val_events=8", "data.dataset.test_events=8", "data.batch=8",
    "data.dataset.workers=1", "data.workers=0", "trainer.threads=1", "trainer.accelerator=cpu",
    "trainer.precision=float32",
    "logger=csv", "schedule=joint", "stages.0.steps=2", "benchmark.permutations=20",
]  # fmt: skip


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An interpreter that has our wheel and those of all packages in tests/packages."""
    out = tmp_path_factory.mktemp("strangers")
    wheels = [build_wheel(project, out) for project in sorted(PACKAGES.iterdir()) if project.is_dir()]
    assert len(wheels) == 8
    return fresh_venv(out / "venv", wheel, *wheels)


def refused(python: str, *arguments: str, cwd: Path) -> str:
    """What `bindspace ARGUMENTS` says on the way out with exit code 2."""
    command = [python, "-m", "bindspace", *arguments]
    done = subprocess.run(command, cwd=cwd, env=quiet_environment(), capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_list_names_all_of_them_and_says_why_some_do_not_work(python, tmp_path):
    listed = bindspace("plugins", cwd=tmp_path, python=python).stdout
    rows = {tuple(line.split()) for line in listed.splitlines()}
    assert ("tactile", "tactile", "bindspace-tactile", "0.1.0") in rows
    assert ("text_spelling", "text", "bindspace-spelling", "0.3.0", "text_spelling_wide") in rows
    assert ("twin", "(failed)", "bindspace-twin-a", "1.0.0") in rows
    assert ("twin", "(failed)", "bindspace-twin-b", "2.0.0") in rows
    assert "'crashing' of bindspace-crashing does not load: RuntimeError: the driver of the sensor is not" in listed
    assert "'outdated' of bindspace-outdated was written for contract 0, this bindspace supports contract 1" in listed
    assert "the name 'twin' is claimed by bindspace-twin-a and bindspace-twin-b: uninstall one of them" in listed


@pytest.mark.parametrize("name", ["tactile", "text_spelling"])
def test_the_good_ones_keep_the_contract(python, tmp_path, name):
    assert bindspace("check", name, cwd=tmp_path, python=python).stdout.endswith(f"{name}: all checks passed\n")


def test_the_others_train_and_measure_beside_the_broken_ones(python, tmp_path):
    chosen = "modality=[image,tactile,text_spelling_wide]"
    bindspace("train", chosen, *SMALL, "out=run", cwd=tmp_path, python=python)
    assert (tmp_path / "run" / "benchmark" / "report.json").is_file()
    config = (tmp_path / "run" / "config.yaml").read_text("utf-8")
    assert "  text: text_spelling\n" in config
    assert "    buckets: 32768\n" in config
    words = 'text=["a ball bounces","a bal bouncs"]'
    bindspace("embed", "space=run/space", words, "out=z.npz", cwd=tmp_path, python=python)


def test_a_strangers_term_is_chosen_by_name_and_what_it_pairs_is_on_record_although_it_reports_nothing(
    python, tmp_path
):
    listed = bindspace("plugins", cwd=tmp_path, python=python).stdout
    assert ("symile", "bindspace-symile", "0.1.0") in {tuple(line.split()) for line in listed.splitlines()}
    chosen = ["modality=[image,text,tactile]", "terms=[{use: product, of: [text,tactile]}]"]
    bindspace("train", *chosen, *SMALL, "suite=none", "out=run", cwd=tmp_path, python=python)
    statuses = json.loads((tmp_path / "run" / "ledger.json").read_text())["statuses"]
    assert statuses == {"image-tactile": "trained", "image-text": "trained", "tactile-text": "trained"}


def test_who_asks_for_a_broken_one_is_told_which_and_why(python, tmp_path):
    assert "claimed by bindspace-twin-a and bindspace-twin-b" in refused(python, "check", "twin", cwd=tmp_path)
    said = refused(python, "train", "modality=[image,twin]", cwd=tmp_path)
    assert "claimed by bindspace-twin-a and bindspace-twin-b" in said
    assert "the driver of the sensor is not installed" in refused(python, "check", "crashing", cwd=tmp_path)
    assert "written for contract 0" in refused(python, "train", "modality=[image,outdated]", cwd=tmp_path)
    said = refused(python, "train", "modality=[image,text,text_spelling]", cwd=tmp_path)
    assert "'text' and 'text_spelling' both serve 'text': write 'modality=[image,text_spelling]'" in said
    assert list(tmp_path.iterdir()) == []

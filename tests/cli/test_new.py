"""`bindspace new` and `bindspace check`: packages that are complete, small, lint-free and keep the contract."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import invalidate_caches
from pathlib import Path

import pytest
from installing import write_distribution

from bindspace.cli import main
from bindspace.cli.new import TAKEN, TEMPLATES, kinds
from bindspace.contract import registry
from bindspace.testing import check_modality

ROOT = Path(__file__).parents[2]
KINDS = ["image", "signal", "tokens", "vector"]


@pytest.fixture
def new(tmp_path, monkeypatch):
    """`new(name, kind)`: writes a package, and installs it as pip would; returns its folder."""
    modules = set(sys.modules)

    def build(name: str, kind: str) -> Path:
        assert main(["new", name, f"kind={kind}", f"out={tmp_path}"]) == 0
        folder = tmp_path / f"bindspace-{name.replace('_', '-')}"
        points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"][registry.MODALITIES]
        write_distribution(folder, folder.name, "0.1.0", **points)
        monkeypatch.syspath_prepend(str(folder))
        registry.installed.cache_clear()
        invalidate_caches()
        return folder

    yield build
    registry.installed.cache_clear()
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_there_is_a_skeleton_for_each_kind():
    assert kinds() == KINDS
    assert {path.suffix for path in TEMPLATES.rglob("*.*")} == {".txt", ".json"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_small_and_keeps_the_contract(new, kind, capsys):
    folder = new("sonar_2", kind)
    files = [path for path in folder.rglob("*") if path.is_file() and "dist-info" not in str(path)]
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in files)
    assert len(files) <= 5
    assert lines <= 250
    assert capsys.readouterr().out.splitlines()[0] == f"{folder}: {len(files)} files, {lines} lines"
    assert "${" not in "".join(path.read_text("utf-8") for path in files)
    assert all(result.outcome != "FAIL" for result in check_modality("sonar_2"))
    (preset,) = [name for name in registry.presets() if name.startswith("sonar_2")]
    assert main(["train", f"modality=[image,{preset}]", "--cfg", "job"]) == 0
    for size in ("small", "base"):
        assert main(["train", "modality=[image,sonar_2]", f"size={size}", "--cfg", "job", "--resolve"]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_lint_free(tmp_path, kind):
    assert main(["new", "sonar", "--kind", kind, f"--out={tmp_path}"]) == 0
    chosen = ["--isolated", "--line-length=120", "--no-cache", str(tmp_path)]
    rules = ["--select=E,F,W,B,UP,SIM,C4,RUF,RET,NPY", "--ignore=RUF012"]
    for command in (["check", *rules], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *chosen], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_imports_nothing_slow(tmp_path):
    code = "import sys; from bindspace.cli import main; main(['new', 'sonar']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Sonar"], "cannot name a modality 'Sonar': expected lower-case letters, digits and _, a letter first"),
        (["so-nar"], "cannot name a modality 'so-nar'"),
        (["lambda"], "and no word of Python's"),
        (["../sonar"], "cannot name a modality '../sonar'"),
        (["concept"], "cannot name a modality 'concept': the name is reserved"),
        (["audio"], "'audio' is taken by bindspace: choose another name, or uninstall that package"),
        (["audio_scenes"], "'audio_scenes' is the name of a preset of bindspace"),
        (["world"], "the package bindspace_world exists already"),
        (["sonar", "kind=signl"], "unknown kind 'signl': did you mean 'signal'?"),
        (["sonar", "knd=signal"], "unknown setting 'knd': did you mean 'kind'?"),
        ([], "the name of the modality is missing"),
        (["kind=signal"], "the name of the modality is missing"),
    ],
)
def test_what_cannot_be_written_is_answered_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["new", *arguments]) == 2
    answer = capsys.readouterr().err
    assert answer.startswith("bindspace: ")
    assert answer.count("\n") == 1
    assert said in answer
    assert list(tmp_path.iterdir()) == []
    assert "concept" in TAKEN


def test_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bindspace-sonar").mkdir()
    (tmp_path / "bindspace-sonar" / "mine.txt").write_text("mine")
    assert main(["new", "sonar"]) == 2
    assert "bindspace-sonar exists already: nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["bindspace-sonar", "mine.txt"]


def test_what_cannot_be_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = []

    def full(path, text):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr("bindspace.cli.new.write_text", full)
    assert main(["new", "sonar"]) == 130
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_check_prints_each_check_and_ends_with_0(new, capsys):
    new("sonar", "vector")
    capsys.readouterr()
    assert main(["check", "sonar", "hidden=32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "sonar: all checks passed"
    assert [line[:4] for line in lines[:2]] == ["ok  ", "ok  "]
    assert any(line.startswith("n.a.  padding changes nothing") for line in lines)


def test_check_of_a_broken_plugin_names_the_line_and_ends_with_2(new, capsys):
    folder = new("sonar", "vector")
    module = folder / "bindspace_sonar" / "__init__.py"
    module.write_text(module.read_text().replace("np.stack(samples) / self.scale", "np.random.rand(len(samples), 16)"))
    assert main(["check", "sonar"]) == 2
    said = capsys.readouterr()
    assert "FAIL  evaluation repeats itself" in said.out
    line = 1 + [text.strip()[:12] for text in module.read_text().splitlines()].index("def prepare(")
    assert f"look at: {module}:{line}" in said.out
    assert "checks failed: fix the lines named above" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected the name of a plugin, got none"),
        (["aduio"], "unknown modality 'aduio': did you mean 'audio'?"),
        (["audio_scenes"], "'audio_scenes' is a preset for 'audio'"),
        (["audio", "clps=3"], "unknown setting 'clps': did you mean 'clips'?"),
        (["audio", "clips=many"], "clips"),
    ],
)
def test_what_cannot_be_checked_is_answered_in_a_sentence(capsys, arguments, said):
    assert main(["check", *arguments]) == 2
    assert said in capsys.readouterr().err

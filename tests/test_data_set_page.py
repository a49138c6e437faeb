"""The data set of docs/write-a-data-set.md, as it stands on the page, is installed and used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bindspace import Source
from bindspace.cli import main
from bindspace.contract import registry
from bindspace.data import Manifest, load_pool

PAGE = Path(__file__).parents[1] / "docs" / "write-a-data-set.md"


@pytest.fixture
def digits(install, tmp_path, monkeypatch):
    """Installs the page's package, and goes to an empty folder."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    install(
        "bindspace-digits",
        {"bindspace_digits/__init__.py": source},
        group=registry.DATASETS,
        digits="bindspace_digits:DigitsConfig",
    )
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_it_is_a_verb_that_writes_what_the_plugins_read(digits, capsys):
    assert main(["digits", "out=d", "events=20"]) == 0
    configs = {name: registry.load(name)() for name in ("image", "text")}
    pool = load_pool([Source("d")], configs, max_bad_fraction=0.0)
    assert len(pool) == 20
    assert pool.attributes["label"][:3] == ["zero", "one", "two"]
    assert main(["digits", "--help"]) == 0
    assert "events=100" in capsys.readouterr().out


def test_it_is_an_option_of_data_whose_sources_are_written_once(digits, capsys):
    overrides = ["data=digits", "modality=[image,text]", "data.dataset.events=30"]
    assert main(["train", *overrides, "--cfg", "job"]) == 0
    assert "events: 30" in capsys.readouterr().out
    config = registry.load("digits", registry.DATASETS)(events=30)
    sources = config.sources([("image", "text")], ["image", "text"])
    train, test = (Manifest.load(sources[split][0], ["image", "text"]) for split in ("train", "test"))
    assert len(train.rows) == len(test.rows) == 30
    assert {row["id"] for row in train.rows}.isdisjoint(row["id"] for row in test.rows)
    written = {path: path.stat().st_mtime_ns for path in Path("outputs").rglob("*") if path.is_file()}
    config.sources([("image", "text")], ["image", "text"])
    assert {path: path.stat().st_mtime_ns for path in Path("outputs").rglob("*") if path.is_file()} == written

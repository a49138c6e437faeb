"""docs/use-as-a-library.md is run as it stands, block after block."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "use-as-a-library.md"


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:The number of training batches.*", "ignore:.*treespec.*")
def test_the_code_of_the_page_runs_and_does_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "trained"
    assert 0 <= float(said[1]) <= 1
    assert names["module"].space.ledger.status("text", "imu") == "trained"


def test_the_term_of_the_losses_page_is_the_one_that_tests_install():
    page = (PAGE.parent / "losses.md").read_text(encoding="utf-8")
    package = PAGE.parents[1] / "tests" / "packages" / "bindspace_symile"
    for file in ("bindspace_symile/__init__.py", "bindspace_symile/term.py"):
        assert f"```python\n{(package / file).read_text(encoding='utf-8').rstrip()}\n```" in page
    assert 'symile = "bindspace_symile:SymileConfig"' in (package / "pyproject.toml").read_text(encoding="utf-8")

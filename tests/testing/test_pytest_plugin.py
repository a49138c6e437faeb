"""`pytest --bindspace NAME` in a process of its own, as an author runs it; nothing where it is not asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs pytest in an empty folder."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_each_check_is_a_test_and_a_name_that_is_unknown_is_a_mistake_of_usage(tmp_path):
    done = pytest_in(tmp_path, "--bindspace", "text", "-k", "evaluation or padding or averaged", "-vv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "evaluation_repeats_itself" in done.stdout
    assert "3 passed, 1 skipped" in done.stdout
    assert done.stdout.count("PASSED") == 3
    unknown = pytest_in(tmp_path, "--bindspace", "txt")
    assert unknown.returncode == 4
    assert "unknown modality 'txt': did you mean 'text'?" in unknown.stderr


def test_a_failure_is_the_report_of_the_check_and_no_traceback(tmp_path, monkeypatch):
    (tmp_path / "conftest.py").write_text(
        "import bindspace_text\nbindspace_text.TextConfig.show = lambda self, sample: 'no picture'\n"
    )
    done = pytest_in(tmp_path, "--bindspace", "text", "-k", "show")
    assert done.returncode == 1
    assert "expected a PIL image, got str" in done.stdout
    assert "why: Samples should be inspected by a person before trusting results" in done.stdout
    assert "Traceback" not in done.stdout


def test_it_costs_nothing_where_it_is_not_asked_for(tmp_path):
    (tmp_path / "test_nothing.py").write_text(
        "def test_nothing():\n    import sys\n    assert 'torch' not in sys.modules\n"
    )
    assert pytest_in(tmp_path, "-W", "error").returncode == 0

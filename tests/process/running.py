"""The command line as a person runs it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def bindspace(*arguments: str, cwd: Path, python: str = sys.executable, **options) -> subprocess.CompletedProcess[str]:
    """Runs `bindspace ARGUMENTS` as a person would, and fails the test with its output where it fails."""
    command = [python, "-m", "bindspace", *arguments]
    done = subprocess.run(command, cwd=cwd, env=quiet_environment(), capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def quiet_environment() -> dict[str, str]:
    """One thread, and no path into this checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LOCAL_RANK")}
    return kept | {"OMP_NUM_THREADS": "1"}

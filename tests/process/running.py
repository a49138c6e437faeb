"""The command line as a person runs it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
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


def build_wheel(project: Path, out: Path) -> Path:
    """The wheel of a project, as `python -m build` makes it, without a network."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(project)]
    before = set(out.glob("*.whl"))
    subprocess.run(command, check=True, capture_output=True)
    (found,) = set(out.glob("*.whl")) - before
    return found


def fresh_venv(folder: Path, *wheels: Path) -> str:
    """The interpreter of a new venv that has these wheels, and of this one's packages all but the checkout."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", *map(str, wheels)]
    subprocess.run(install, check=True, capture_output=True)
    # a path in a .pth file is appended, and its own .pth files (the editable checkout's) are not followed
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(python)

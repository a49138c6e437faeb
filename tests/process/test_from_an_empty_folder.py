"""The commands of docs/write-a-modality.md, from an empty folder to an emergent score, as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from running import fresh_venv, quiet_environment

pytestmark = pytest.mark.process
PAGE = Path(__file__).parents[2] / "docs" / "write-a-modality.md"


def test_the_commands_of_the_page_end_in_an_emergent_score_above_chance(wheel, tmp_path):
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    python = Path(fresh_venv(tmp_path / "venv", wheel))
    offline = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1"}
    environment = quiet_environment() | offline | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    place = tmp_path / "empty"
    place.mkdir()
    for command in commands.splitlines():
        done = subprocess.run(["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    cells = json.loads((place / "report" / "report.json").read_text("utf-8"))["pairs"]
    found = {(cell["query"], cell["gallery"]): cell for cell in cells}
    for pair in (("tactile", "text"), ("tactile", "image")):
        assert found[pair]["ci95"]["10"][0] > found[pair]["chance"]["10"]
    assert found["tactile", "text"]["status"] == "emergent"

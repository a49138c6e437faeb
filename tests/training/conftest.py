"""Puts this folder on the path, so that tests and the processes they start find `plain`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _quiet_lightning():
    """Lightning warns of what these tests do on purpose: few workers, towers in evaluation mode."""
    from bindspace.training.logging import quiet

    quiet()

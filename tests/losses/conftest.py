"""Puts this folder on the path, so that tests and the processes they start find `shares`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

"""Version 1 of the world is frozen: what it renders never changes, on any machine.

A change on purpose is a new version of the world. Until the first release of a version,
`python tests/plugins/test_world_golden.py` writes the hashes anew.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bindspace_world.attributes import Events, draw_events
from bindspace_world.writing import RENDERERS, Plan, plan_rows, render

GOLDEN = Path(__file__).with_name("world_v1.json")
SEED = 20240117
COMBINATIONS = ("seen", "held_out", "all")


def first_events(combinations: str) -> Events:
    return draw_events(SEED, np.arange(24), combinations)


def rendered_hash(name: str) -> str:
    """The hash of what the files hold: integers, and floats of the IMU."""
    digest = hashlib.sha256()
    for combinations in COMBINATIONS:
        values = render(name, first_events(combinations))
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def rows_hash() -> str:
    """The hash of ids, paths, attributes and six captions an event."""
    names = ("image", "text", "audio", "depth", "thermal", "imu")
    plans = (Plan(Path(), SEED, 200, names, combinations, 6) for combinations in COMBINATIONS)
    text = "\n".join(json.dumps(row, sort_keys=True) for plan in plans for row in plan_rows(plan))
    return hashlib.sha256(text.encode()).hexdigest()


def hashes() -> dict[str, str]:
    return {"rows": rows_hash(), **{name: rendered_hash(name) for name in RENDERERS}}


def test_the_rows_of_version_1_are_frozen():
    assert rows_hash() == json.loads(GOLDEN.read_text())["rows"]


@pytest.mark.parametrize("name", RENDERERS)
def test_what_version_1_renders_is_frozen(name):
    assert rendered_hash(name) == json.loads(GOLDEN.read_text())[name]


def test_a_processor_without_wide_vectors_renders_the_same_bits():
    code = "import test_world_golden as golden; print(*map(golden.rendered_hash, ('image', 'imu')))"
    wide = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR" if np.__version__ >= "2.4" else "AVX2 FMA3 AVX512F AVX512_SKX"
    narrow = {"NPY_DISABLE_CPU_FEATURES": wide}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, **narrow},
        capture_output=True,
        text=True,
        check=True,
    )
    golden = json.loads(GOLDEN.read_text())
    assert found.stdout.split() == [golden["image"], golden["imu"]]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(hashes(), indent=2) + "\n")

"""The commands of docs/large-batches.md, on a small world."""

import json
import re
import shlex
from pathlib import Path

import pytest
from running import bindspace

pytestmark = pytest.mark.process
PAGE = Path(__file__).parents[2] / "docs" / "large-batches.md"
SMALL = {"data.batch=4096": "data.batch=12", "trainer.micro_batch=256": "trainer.micro_batch=5"}


def commands():
    """The arguments of each command on the page, with numbers for a small world."""
    text = PAGE.read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [[SMALL.get(word, word) for word in shlex.split(line)[1:]] for line in lines]


def test_the_commands_of_the_page_run_and_share_vectors(sources, world, tmp_path):
    kept = {}
    for verb, *given in commands():
        given = [word.replace("my/test", str(world / "test")) for word in given]
        if verb == "train":
            names = {word.split("=")[0] for word in given}
            replaced = names | ({"stages"} if "schedule" in names else set())
            given += [word for word in sources if word.split("=")[0] not in replaced]
            given += ["stages=[{name: joint, steps: 4}]"] if "schedule" in names else []
        done = bindspace(verb, *given, cwd=tmp_path)
        kept[verb, *given[-1:], done.stdout[-40:]] = sorted((tmp_path / "vectors").glob("image-*/*.vectors"))
    abouts = [json.loads(path.read_text()) for path in (tmp_path / "vectors").glob("*/cache.json")]
    images = {about["tower"] for about in abouts if about["modality"] == "image"}
    assert len(images) == 1  # both runs and the benchmark found the same tower
    assert not list(tmp_path.glob("first/cache"))
    first, second = list(kept.values())[1:3]
    assert first
    assert second == first  # the second run added nothing

import io
import json

import numpy as np
from PIL import Image

from bindspace_world import WorldConfig
from bindspace_world.probes import beside, written


def test_the_world_writes_its_probes_once_with_the_right_answer_first(tmp_path):
    choices = WorldConfig(root=str(tmp_path)).choices()
    assert [(each.name, each.query, each.gallery) for each in choices] == [
        (name, "image", "text") for name in ("swap", "plain", "typographic")
    ]
    (path,) = {each.path for each in choices}
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        right, wrong = row["text"]
        assert right != wrong
        if row["probe"] == "swap":
            assert sorted(right.split()) == sorted(wrong.split())  # a bag of words cannot tell them apart
    assert {probe: sum(row["probe"] == probe for row in rows) for probe in ("plain", "typographic")} == {
        "plain": 200,
        "typographic": 200,
    }
    before = {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    WorldConfig(root=str(tmp_path)).choices()
    assert {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == before
    assert Image.open(io.BytesIO((tmp_path / next(iter(before)) / rows[0]["image"]).read_bytes())).size == (64, 64)


def test_two_pictures_stand_side_by_side_and_a_word_covers_the_middle_only():
    left, right = np.full((64, 64, 3), 10, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    both = beside(left, right)
    assert (both[32, 10] == 10).all()
    assert (both[32, 50] == 200).all()
    assert (both[2, 2] == 128).all()
    marked = written(left, "cube")
    assert marked.max() == 255
    assert (marked[:16] == 10).all()
    assert (marked[48:] == 10).all()

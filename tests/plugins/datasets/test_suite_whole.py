"""The whole of `suite=imagebind`: every adapter of its table, over small random towers of all six modalities."""

from __future__ import annotations

from pathlib import Path

import pytest
from owners_sounds import SETS
from running_suites import measured, random_space
from test_ego4d import owned as ego4d  # noqa: F401
from test_imagenet import sorted_folders as imagenet  # noqa: F401
from test_llvip import owned as llvip  # noqa: F401
from test_nyu_depth import owned as nyu_depth  # noqa: F401
from test_sunrgbd import owned as sunrgbd  # noqa: F401

PICTURES = ["imagenet", "nyu_depth", "sunrgbd", "llvip", "ego4d"]
TOWERS = ["image", "text", "audio", "depth", "thermal", "imu"]
NO_PLUGIN = ["places365", "kinetics400"]


@pytest.fixture
def data(tmp_path, monkeypatch, request):
    """A folder with every data set in a folder of its name; runs in an empty folder."""
    for name in PICTURES:
        made = request.getfixturevalue(name)
        if made != tmp_path / "all" / name:
            (tmp_path / "all").mkdir(exist_ok=True)
            (tmp_path / "all" / name).symlink_to(made)
    for name, make in SETS.items():
        make(tmp_path / "all" / name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "all"


def test_every_adapter_fills_its_rows(data):
    pytest.importorskip("open_clip")
    random_space([f"{name}_imagebind" for name in TOWERS], 64)
    code, cells = measured("space=space", f"data_root={data}")
    assert code == 0
    assert sorted({cell["dataset"] for cell in cells if cell["blank"]}) == sorted(NO_PLUGIN)
    filled = [cell for cell in cells if not cell["blank"]]
    assert {cell["dataset"] for cell in filled} == {*PICTURES, *SETS}
    assert {cell["query"] for cell in filled} | {cell["gallery"] for cell in filled} == set(TOWERS)
    for cell in filled:
        assert 0 <= cell["ci95"][0] <= cell["ours"] <= cell["ci95"][1] <= 1
        assert 0 < cell["chance"] <= 1
    classes = {cell["dataset"]: cell["classes"] for cell in filled if "classes" in cell}
    assert (classes["nyu_depth"], classes["sunrgbd"], classes["llvip"]) == (10, 19, 2)
    assert len(list(Path("outputs/data").glob("nyu_depth-test-*/depth/*.png"))) == 3


def test_a_tower_for_pictures_leaves_videos_blank(data):
    random_space(["image", "text"])
    code, cells = measured("space=space", f"data_root={data}")
    assert code == 0
    ours = {(cell["dataset"], cell["query"]): cell for cell in cells}
    assert ours["imagenet", "image"]["ours"] is not None
    assert ours["msrvtt", "text"]["blank"].startswith("the space has no audio")
    (video,) = [cell for cell in cells if cell["gallery"] == "image"]
    assert video["blank"].startswith("the space's image reads none of the files: videos/all/video")
    assert "expected a picture" in video["blank"]

import numpy as np
import pytest
from owned_files import colours, picture, read_test, write

from bindspace.contract.errors import AbsentError, UserError
from bindspace_datasets.sunrgbd import CLASSES, SunRgbdConfig
from bindspace_depth import DepthConfig
from bindspace_image import ImageConfig
from bindspace_imagebind.maps import DepthImagebindConfig

scipy_io = pytest.importorskip("scipy.io")

SPLIT = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
TRAIN = {
    "kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103-resize": "classroom",
    "xtion/sun3ddata/a/b": "idk",
}
TEST = {
    "kv1/NYUdata/NYU0001": "home_office",
    "realsense/lg/2014_10_21-18_15_45-1311000073": "office_kitchen",
    "xtion/xtion_align_data/2014_12_18_20_22_45_260595134347": "bathroom",
}
MILLIMETRES = np.linspace(600, 9000, 40 * 60).round().reshape(40, 60).astype(np.uint16)


def cells(paths):
    """A cell array (1, N) of texts, as `allsplit.mat` holds them."""
    array = np.empty((1, len(paths)), object)
    array[0, :] = [f"/n/fs/sun3d/data/SUNRGBD/{path}{'/' * (number % 2)}" for number, path in enumerate(paths)]
    return array


@pytest.fixture
def owned(tmp_path):
    """The zips of the owner, unpacked: five rooms by four cameras; `office_kitchen` and `idk` are none of the 19."""
    folder = tmp_path / "sun"
    write(folder / "SUNRGBDtoolbox/readme.txt", "")
    (folder / SPLIT).parent.mkdir()
    scipy_io.savemat(folder / SPLIT, {"alltrain": cells(TRAIN), "alltest": cells(TEST)})
    for number, (place, kind) in enumerate({**TRAIN, **TEST}.items()):
        room = folder / "SUNRGBD" / place
        picture(room / f"image/{number:07d}.jpg", colours(number))
        picture(room / f"depth_bfx/{number:07d}.png", (MILLIMETRES << 3) | (MILLIMETRES >> 13))
        write(room / "scene.txt", kind)
        write(room / "intrinsics.txt", f"{520 + number}.5 0 284.5\n0 520.0 208.7\n0 0 1\n")
    return folder


def test_the_test_split_holds_the_rooms_of_the_19_kinds_with_their_cameras(owned):
    first, second = SunRgbdConfig(folder=str(owned)).rows("test")
    assert first == {
        "id": "kv1/NYUdata/NYU0001",
        "image": "SUNRGBD/kv1/NYUdata/NYU0001/image/0000002.jpg",
        "depth": "SUNRGBD/kv1/NYUdata/NYU0001/depth_bfx/0000002.png",
        "depth.unit": "mm",
        "depth.sunrgbd": True,
        "depth.focal": 522.5,
        "depth.baseline": 0.075,
        "label": "home office",
    }
    assert (second["label"], second["depth.focal"], second["depth.baseline"]) == ("bathroom", 524.5, 0.095)


def test_the_train_split_holds_every_pair(owned):
    rows = list(SunRgbdConfig(folder=str(owned)).rows("train"))
    assert [row["id"] for row in rows] == list(TRAIN)
    assert [row.get("label") for row in rows] == ["classroom", None]
    assert all("image" in row and "depth" in row for row in rows)


def test_there_are_19_classes():
    assert SunRgbdConfig().classes() == {"label": list(CLASSES)}
    assert len(set(CLASSES)) == 19
    assert SunRgbdConfig().templates() == {"label": ["clip"]}


def test_depth_is_read_with_its_bits_put_back_and_cut_at_eight_metres(owned, tmp_path):
    dataset = SunRgbdConfig(folder=str(owned), root=str(tmp_path / "data"))
    pool = read_test(dataset, image=ImageConfig(), depth=DepthConfig())
    assert pool.left_out == 0
    assert pool.attributes["label"] == ["home office", "bathroom"]
    np.testing.assert_allclose(pool.shown("depth", 0), (MILLIMETRES / 1000).clip(max=8), rtol=1e-6)
    disparity = read_test(dataset, depth=DepthImagebindConfig()).shown("depth", 1)
    wanted = (0.095 * 524.5 / (MILLIMETRES / 1000).clip(max=8)).clip(max=75) / 75
    np.testing.assert_allclose(disparity, (wanted - 0.0418) / 0.0295, rtol=1e-4, atol=1e-4)


def test_a_run_trains_on_the_train_split_in_the_owners_folder(owned, tmp_path):
    sources = SunRgbdConfig(folder=str(owned), root=str(tmp_path)).sources([("image", "depth")], ["image", "depth"])
    assert {name: len(each) for name, each in sources.items()} == {"train": 1, "val": 0, "test": 1}
    assert sources["train"][0].root == str(owned)


def test_what_is_missing_is_told_with_its_address(owned, tmp_path):
    dataset = SunRgbdConfig(folder=str(tmp_path / "empty"))
    with pytest.raises(
        AbsentError, match=r"expected its split .* https://rgbd\.cs\.princeton\.edu/data/SUNRGBDtoolbox"
    ):
        list(dataset.rows("test"))
    write(tmp_path / "empty/SUNRGBDtoolbox/x", "")
    (tmp_path / "empty" / SPLIT).parent.mkdir()
    (tmp_path / "empty" / SPLIT).write_bytes((owned / SPLIT).read_bytes())
    with pytest.raises(AbsentError, match=r"SUNRGBD\.zip, 6\.4 GB.* so that .*empty holds SUNRGBD"):
        list(dataset.rows("test"))
    (owned / "SUNRGBD/kv1/NYUdata/NYU0001/scene.txt").unlink()
    with pytest.raises(
        AbsentError, match=r"1 of the 3 folders of alltest are not in .*, e\.g\. SUNRGBD/kv1/NYUdata/NYU0001"
    ):
        list(SunRgbdConfig(folder=str(owned)).rows("test"))


def test_a_room_without_depth_is_a_row_without_the_cell_and_all_without_is_an_error(owned):
    dataset = SunRgbdConfig(folder=str(owned))
    kinect, _, xtion = (owned / "SUNRGBD" / place / "depth_bfx" for place in TEST)
    kinect.rename(owned / "elsewhere")
    assert ["depth" in row for row in dataset.rows("test")] == [False, True]
    xtion.rename(owned / "elsewhere too")
    with pytest.raises(AbsentError, match=r"none of its 2 files is in .* depth_bfx/\*\.png in the folder of each room"):
        list(dataset.rows("test"))


def test_strange_paths_and_cameras_are_refused(owned):
    write(owned / "SUNRGBD/kv1/NYUdata/NYU0001/intrinsics.txt", "")
    with pytest.raises(UserError, match=r"intrinsics\.txt: expected the camera's matrix, nine numbers"):
        list(SunRgbdConfig(folder=str(owned)).rows("test"))
    for place in ("/n/fs/sun3d/data/SUNRGBD/../../../etc", "/etc/passwd"):
        array = np.empty((1, 1), object)
        array[0, 0] = place
        scipy_io.savemat(owned / SPLIT, {"alltest": array})
        with pytest.raises(UserError, match=r"expected a folder below SUNRGBD in .*allsplit\.mat, got"):
            list(SunRgbdConfig(folder=str(owned)).rows("test"))

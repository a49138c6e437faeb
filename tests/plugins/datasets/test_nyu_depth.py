import sys

import numpy as np
import pytest
from owned_files import read_test
from PIL import Image

from bindspace.contract.errors import AbsentError, UserError
from bindspace_datasets.nyu_depth import COMMON, OTHER, NyuDepthConfig
from bindspace_depth import DepthConfig
from bindspace_imagebind.maps import DepthImagebindConfig

h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")

KINDS = ["kitchen", "living_room", "basement", "bedroom", "furniture_store"]
SCENES = ["kitchen_0004", "living_room_0011", "basement_0001a", "bedroom_0024", "furniture_store_0001d"]


def texts(file, name, values):
    """A cell array of texts as MATLAB 7.3 writes it: references to columns of character codes."""
    for number, value in enumerate(values):
        file[f"#refs#/{name}{number}"] = np.array([[ord(letter)] for letter in value], np.uint16)
    references = [file[f"#refs#/{name}{number}"].ref for number in range(len(values))]
    file.create_dataset(name, data=np.array([references], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)


@pytest.fixture(scope="module")
def owned(tmp_path_factory):
    """Five images of 480 x 640 in the two files of the owner; the test split is 4, 1 and 3."""
    folder = tmp_path_factory.mktemp("nyu")
    rng = np.random.default_rng(0)
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        images = rng.integers(0, 256, (5, 3, 8, 6), dtype=np.uint8).repeat(80, 2).repeat(80, 3)
        file.create_dataset("images", data=images)
        file.create_dataset("depths", data=rng.uniform(0.7, 9.9, (5, 8, 6)).repeat(80, 1).repeat(80, 2).astype("f4"))
        texts(file, "sceneTypes", KINDS)
        texts(file, "scenes", SCENES)
    splits = {"trainNdxs": np.array([[2], [5]], np.uint16), "testNdxs": np.array([[4], [1], [3]], np.uint16)}
    scipy_io.savemat(folder / "splits.mat", splits)
    return folder


def test_rows_are_the_owners_split_with_nine_kinds_of_room_and_other(owned):
    dataset = NyuDepthConfig(folder=str(owned))
    rows = list(dataset.rows("test"))
    assert [(row["id"], row["label"], row["group"]) for row in rows] == [
        ("0004", "bedroom", "bedroom_0024"),
        ("0001", "kitchen", "kitchen_0004"),
        ("0003", "other", "basement_0001a"),
    ]
    camera = {"depth.unit": "mm", "depth.focal": 518.857901, "depth.baseline": 0.075}
    assert rows[0] == rows[0] | camera | {"image": "image/0004.png", "depth": "depth/0004.png"}
    assert [row["label"] for row in dataset.rows("train")] == ["living room", "other"]


def test_ten_classes_of_which_other_has_eighteen_names():
    assert NyuDepthConfig().classes() == {"label": [*COMMON, "other"]}
    assert len(COMMON) == 9
    assert NyuDepthConfig().names() == {"label": {"other": list(OTHER)}}
    assert len(set(OTHER)) == 18
    assert not set(OTHER) & set(COMMON)
    assert NyuDepthConfig().templates() == {"label": ["clip"]}


def test_pictures_and_depth_are_written_once_pixel_for_pixel(owned, tmp_path):
    dataset = NyuDepthConfig(folder=str(owned))
    manifest = dataset.write(tmp_path / "out")
    with h5py.File(owned / "nyu_depth_v2_labeled.mat") as file:
        image, depth = file["images"][3], file["depths"][3]
    shown = np.asarray(Image.open(tmp_path / "out/image/0004.png"))
    assert shown.shape == (480, 640, 3)
    np.testing.assert_array_equal(shown[7, 90], image[:, 90, 7])
    np.testing.assert_array_equal(shown, image.transpose(2, 1, 0))
    stored = np.asarray(Image.open(tmp_path / "out/depth/0004.png"))
    assert stored.dtype == np.uint16
    np.testing.assert_allclose(stored / 1000, depth.T, atol=0.0006)
    assert sorted(path.name for path in (tmp_path / "out/image").iterdir()) == ["0001.png", "0003.png", "0004.png"]
    (tmp_path / "out/image/0004.png").write_bytes(b"kept")
    assert dataset.write(tmp_path / "out") == manifest
    assert (tmp_path / "out/image/0004.png").read_bytes() == b"kept"


def test_depth_plugins_read_metres_and_disparity_with_the_camera(owned, tmp_path):
    dataset = NyuDepthConfig(folder=str(owned), root=str(tmp_path))
    pool = read_test(dataset, depth=DepthConfig())
    assert pool.attributes["label"] == ["bedroom", "kitchen", "other"]
    with h5py.File(owned / "nyu_depth_v2_labeled.mat") as file:
        metres = file["depths"][3].T
    np.testing.assert_allclose(pool.shown("depth", 0), metres, atol=0.0006)
    disparity = read_test(dataset, depth=DepthImagebindConfig()).shown("depth", 0)
    wanted = 0.075 * 518.857901 / np.round(metres, 3) / 75
    np.testing.assert_allclose(disparity, (wanted.clip(max=1) - 0.0418) / 0.0295, rtol=1e-3, atol=1e-3)


def test_what_is_missing_is_told_with_its_address(owned, tmp_path):
    with pytest.raises(AbsentError, match="NYU Depth v2 is read from a local folder: set folder="):
        list(NyuDepthConfig().rows("test"))
    with pytest.raises(AbsentError, match=r"horatio\.cs\.nyu\.edu/mit/silberman/indoor_seg_sup/splits\.mat"):
        list(NyuDepthConfig(folder=str(tmp_path)).rows("test"))
    (tmp_path / "splits.mat").write_bytes((owned / "splits.mat").read_bytes())
    with pytest.raises(AbsentError, match=r"silberman/nyu_depth_v2/nyu_depth_v2_labeled\.mat and unpack it so that"):
        list(NyuDepthConfig(folder=str(tmp_path)).rows("test"))


def test_damaged_files_are_named(owned, tmp_path):
    for name in ("splits.mat", "nyu_depth_v2_labeled.mat"):
        (tmp_path / name).write_bytes((owned / name).read_bytes())
    dataset = NyuDepthConfig(folder=str(tmp_path))
    scipy_io.savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[1], [6]])})
    with pytest.raises(UserError, match=r"expected images 1\.\.5 in .*splits\.mat, got 1\.\.6"):
        list(dataset.rows("test"))
    with pytest.raises(UserError, match=r"splits\.mat: expected a variable 'trainNdxs', got none"):
        list(dataset.rows("train"))
    (tmp_path / "splits.mat").write_bytes(b"<html>404</html>" * 20)
    with pytest.raises(UserError, match=r"splits\.mat: expected a MATLAB file of version 5, got another or damaged"):
        list(dataset.rows("test"))
    scipy_io.savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[1]])})
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"cut off")
    with pytest.raises(
        UserError, match=r"labeled\.mat: expected a MATLAB file of version 7\.3, got another or damaged"
    ):
        list(dataset.rows("test"))


def test_the_missing_library_is_named_with_its_extra(owned, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"is read by h5py, which is missing: pip install 'bindspace\[datasets\]'"):
        list(NyuDepthConfig(folder=str(owned)).rows("test"))

import numpy as np
import pytest
from owned_files import colours, picture, read_test, write

from bindspace.contract.errors import AbsentError, UserError
from bindspace.data.fragments import split_fragment
from bindspace_datasets.llvip import LlvipConfig
from bindspace_image import ImageConfig
from bindspace_imagebind.maps import ThermalImagebindConfig
from bindspace_thermal import ThermalConfig

BOXES = {"190001": [(10, 20, 30, 60), (50, 5, 64, 40)], "190002": [(-3, 0, 20, 70)], "190003": []}


def annotation(stem, boxes):
    """An XML file as LLVIP's owners write it, in the format of Pascal VOC."""
    things = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        f"<xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in boxes
    )
    size = "<size><width>160</width><height>128</height><depth>3</depth></size>"
    about = f"<folder>visible</folder><filename>{stem}.jpg</filename>{size}<segmented>0</segmented>"
    return f"<annotation>{about}{things}</annotation>"


def grey_in_colour(stem):
    """A thermal picture as LLVIP stores it: grey, in the three channels of a JPEG."""
    rng = np.random.default_rng(int(stem))
    return rng.integers(0, 256, (16, 20, 1), dtype=np.uint8).repeat(8, 0).repeat(8, 1).repeat(3, 2)


@pytest.fixture
def owned(tmp_path):
    """LLVIP's folders with three test pairs, two of which show persons, and one pair to train on."""
    folder = tmp_path / "LLVIP"
    for split, stems in (("test", BOXES), ("train", {"010001": []})):
        for stem, boxes in stems.items():
            picture(folder / f"visible/{split}/{stem}.jpg", colours(int(stem), 128, 160))
            picture(folder / f"infrared/{split}/{stem}.jpg", grey_in_colour(stem), quality=95)
            write(folder / f"Annotations/{stem}.xml", annotation(stem, [("person", box) for box in boxes]))
    return folder


def boxes(rows, label, column="thermal"):
    return [split_fragment(row[column])[1]["xywh"] for row in rows if row["label"] == label]


def test_training_pairs_are_whole_pictures(owned):
    row = {
        "id": "010001",
        "thermal": "infrared/train/010001.jpg",
        "thermal.unit": "raw",
        "image": "visible/train/010001.jpg",
    }
    assert list(LlvipConfig(folder=str(owned)).rows("train")) == [row]


def test_every_person_is_a_crop_within_the_picture(owned):
    rows = list(LlvipConfig(folder=str(owned)).rows("test"))
    persons = [row for row in rows if row["label"] == "person"]
    assert persons[0] == {
        "id": "190001-person-0",
        "thermal": "infrared/test/190001.jpg#xywh=10,20,20,40",
        "thermal.unit": "raw",
        "image": "visible/test/190001.jpg#xywh=10,20,20,40",
        "label": "person",
        "group": "190001",
    }
    assert boxes(rows, "person") == [(10, 20, 20, 40), (50, 5, 14, 35), (0, 0, 20, 70)]


def test_each_has_a_crop_of_background_of_its_size_that_touches_no_person(owned):
    dataset = LlvipConfig(folder=str(owned))
    rows = list(dataset.rows("test"))
    assert [box[2:] for box in boxes(rows, "background")] == [box[2:] for box in boxes(rows, "person")]
    for row in rows:
        x, y, width, height = split_fragment(row["image"])[1]["xywh"]
        assert 0 <= x <= 160 - width
        assert 0 <= y <= 128 - height
        mask = np.zeros((128, 160), bool)
        for left, top, right, bottom in BOXES[row["group"]]:
            mask[max(top, 0) : bottom, max(left, 0) : right] = True
        part = mask[int(y) : int(y + height), int(x) : int(x + width)]
        assert part.all() if row["label"] == "person" else not part.any()
    assert list(dataset.rows("test")) == rows
    assert boxes(LlvipConfig(folder=str(owned), seed=1).rows("test"), "background") != boxes(rows, "background")


def test_no_background_is_made_up_where_persons_fill_the_picture(owned):
    crowd = [("person", (0, 0, 100, 128)), ("car", (0, 0, 5, 5)), ("person", (80, 0, 160, 128))]
    write(owned / "Annotations/190002.xml", annotation("190002", crowd))
    rows = [row for row in LlvipConfig(folder=str(owned)).rows("test") if row["group"] == "190002"]
    assert [row["label"] for row in rows] == ["person", "person"]


def test_thermal_plugins_read_grey_that_was_saved_in_colour(owned, tmp_path):
    dataset = LlvipConfig(folder=str(owned), root=str(tmp_path / "data"))
    pool = read_test(dataset, thermal=ThermalImagebindConfig(), image=ImageConfig())
    assert len(pool) == 6
    stored = grey_in_colour("190001")[20:60, 10:30, 0] / 255
    np.testing.assert_allclose(pool.shown("thermal", 0), stored, atol=0.03)
    assert pool.shown("image", 0).shape == (40, 20, 3)
    warmth = read_test(dataset, thermal=ThermalConfig()).shown("thermal", 0)
    assert warmth.shape == (40, 20)
    assert np.corrcoef(warmth.ravel(), stored.ravel())[0, 1] > 0.99


def test_the_classes_have_the_names_of_the_paper():
    assert LlvipConfig().classes() == {"label": ["person", "background"]}
    assert LlvipConfig().names()["label"] == {
        "person": ["person", "man", "woman", "people"],
        "background": ["street", "road", "car", "light", "tree"],
    }


def test_what_is_missing_or_damaged_is_told(owned, tmp_path):
    with pytest.raises(
        AbsentError,
        match=r"expected its thermal pictures at .*infrared/test: download it from https://bupt-ai-cz\.github\.io",
    ):
        list(LlvipConfig(folder=str(tmp_path / "nowhere")).rows("test"))
    (owned / "visible/test/190001.jpg").unlink()
    rows = list(LlvipConfig(folder=str(owned)).rows("test"))
    assert ["image" in row for row in rows] == [False] * 4 + [True] * 2
    write(owned / "Annotations/190001.xml", "<annotation><size><width>80</width></size></annotation>")
    with pytest.raises(UserError, match=r"190001\.xml: expected boxes as Pascal VOC writes them \(no size/height\)"):
        list(LlvipConfig(folder=str(owned)).rows("test"))
    (owned / "Annotations/190001.xml").unlink()
    with pytest.raises(UserError, match=r"190001\.xml: expected boxes .* unpack it again"):
        list(LlvipConfig(folder=str(owned)).rows("test"))
    for path in (owned / "infrared/test").iterdir():
        path.unlink()
    with pytest.raises(AbsentError, match=r"none of its 0 files is in .* like 190001\.jpg"):
        list(LlvipConfig(folder=str(owned)).rows("test"))

import pytest
from owned_files import colours, picture, read_test, write

from bindspace.contract.errors import AbsentError, UserError
from bindspace_datasets.coco import Coco2017Config, CocoConfig
from bindspace_datasets.flickr30k import Flickr30kConfig
from bindspace_image import ImageConfig
from bindspace_text import TextConfig


def entry(filename, split, captions=5, **more):
    """A picture of Karpathy's JSON."""
    said = [
        {"raw": f"{filename} {number} . ", "tokens": [], "imgid": 0, "sentid": number} for number in range(captions)
    ]
    return {"filename": filename, "imgid": 0, "sentids": [], "split": split, "sentences": said, **more}


@pytest.fixture
def flickr(tmp_path):
    folder = tmp_path / "flickr30k"
    listed = [("1007129816.jpg", "test"), ("1009434119.jpg", "test"), ("1000092795.jpg", "train"), ("11.jpg", "val")]
    write(folder / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": [entry(*each) for each in listed]})
    for number, (name, _) in enumerate(listed):
        picture(folder / "flickr30k-images" / name, colours(number))
    lines = [f"{name}#{number}\tSomebody does {number} .\n" for name, _ in listed for number in range(5)]
    write(folder / "results_20130124.token", "".join(lines))
    return folder


@pytest.fixture
def coco(tmp_path):
    folder = tmp_path / "coco"
    listed = [("COCO_val2014_000000391895.jpg", "test", 7), ("COCO_val2014_000000060623.jpg", "restval", 5)]
    images = [entry(*each, filepath="val2014", cocoid=1) for each in listed]
    images.append(entry("COCO_train2014_000000000009.jpg", "train", filepath="train2014", cocoid=9))
    write(folder / "dataset_coco.json", {"dataset": "coco", "images": images})
    for number, image in enumerate(images):
        picture(folder / image["filepath"] / image["filename"], colours(number))
    said = [{"image_id": 39769, "id": number, "caption": f"Two cats {number}.\n"} for number in range(6)]
    pictures = [{"id": 39769, "file_name": "000000039769.jpg"}, {"id": 7, "file_name": "000000000007.jpg"}]
    write(folder / "annotations/captions_val2017.json", {"images": pictures, "annotations": said})
    picture(folder / "val2017/000000039769.jpg", colours(9))
    return folder


def test_flickr_is_karpathys_split_with_five_captions(flickr, tmp_path):
    dataset = Flickr30kConfig(folder=str(flickr), root=str(tmp_path / "data"))
    first, second = dataset.rows("test")
    assert first == {
        "id": "1007129816",
        "text": [f"1007129816.jpg {number} ." for number in range(5)],
        "image": "flickr30k-images/1007129816.jpg",
    }
    assert second["id"] == "1009434119"
    assert [[row["id"] for row in dataset.rows(split)] for split in ("train", "val")] == [["1000092795"], ["11"]]
    pool = read_test(dataset, image=ImageConfig(), text=TextConfig())
    assert (len(pool), len(pool.items["image"]), len(pool.items["text"])) == (2, 2, 10)


def test_flickrs_own_captions_give_all_pictures(flickr):
    (flickr / "dataset_flickr30k.json").unlink()
    rows = list(Flickr30kConfig(folder=str(flickr)).rows("all"))
    assert len(rows) == 4
    assert rows[0]["text"] == [f"Somebody does {number} ." for number in range(5)]
    with pytest.raises(
        AbsentError, match=r"Karpathy's split \(for the owner's captions: split=all\).*caption_datasets"
    ):
        list(Flickr30kConfig(folder=str(flickr)).rows("test"))
    write(flickr / "results_20130124.token", "1007129816.jpg, a comma\n")
    with pytest.raises(
        UserError, match=r"token, line 1: expected picture#number, a tab and a caption, got '1007129816"
    ):
        list(Flickr30kConfig(folder=str(flickr)).rows("all"))


def test_a_picture_that_is_not_there_is_left_out_and_none_is_an_error(flickr):
    (flickr / "flickr30k-images/1007129816.jpg").rename(flickr / "elsewhere.jpg")
    first, second = Flickr30kConfig(folder=str(flickr)).rows("test")
    assert ("image" in first, "image" in second) == (False, True)
    (flickr / "flickr30k-images/1009434119.jpg").unlink()
    with pytest.raises(AbsentError, match=r"none of its 2 files is in .* like flickr30k-images/1007129816\.jpg"):
        list(Flickr30kConfig(folder=str(flickr)).rows("test"))


def test_coco_takes_the_first_five_captions_and_trains_on_restval_too(coco, tmp_path):
    dataset = CocoConfig(folder=str(coco), root=str(tmp_path / "data"))
    (row,) = dataset.rows("test")
    assert (row["id"], row["image"]) == ("COCO_val2014_000000391895", "val2014/COCO_val2014_000000391895.jpg")
    assert row["text"] == [f"COCO_val2014_000000391895.jpg {number} ." for number in range(5)]
    assert [row["image"].split("/")[0] for row in dataset.rows("train")] == ["val2014", "train2014"]
    assert len(read_test(dataset, image=ImageConfig(), text=TextConfig()).items["text"]) == 5


def test_coco_of_2017_reads_the_owners_annotations(coco, tmp_path):
    dataset = Coco2017Config(folder=str(coco), root=str(tmp_path / "data"))
    assert list(dataset.rows("test")) == [
        {"id": "000000039769", "text": [f"Two cats {n}." for n in range(5)], "image": "val2017/000000039769.jpg"}
    ]
    assert len(read_test(dataset, image=ImageConfig(), text=TextConfig())) == 1
    with pytest.raises(AbsentError, match=r"annotations_trainval2017\.zip\) at .*captions_train2017\.json"):
        list(dataset.rows("train"))
    with pytest.raises(UserError, match=r"unknown split of COCO Captions of 2017 'val'"):
        list(dataset.rows("val"))


@pytest.mark.parametrize(
    ("config", "file", "content", "reason"),
    [
        (Flickr30kConfig, "dataset_flickr30k.json", {"pictures": []}, "expected JSON with 'images' in it"),
        (Flickr30kConfig, "dataset_flickr30k.json", "<html>", "expected JSON with 'images' in it"),
        (Flickr30kConfig, "dataset_flickr30k.json", {"images": [{"split": "test"}]}, r"KeyError\('sentences'\)"),
        (CocoConfig, "dataset_coco.json", {"images": [entry("a.jpg", "test")]}, r"KeyError\('filepath'\)"),
        (Coco2017Config, "annotations/captions_val2017.json", {"annotations": [{}]}, "expected captions with image_id"),
    ],
)
def test_a_damaged_list_is_named(tmp_path, config, file, content, reason):
    write(tmp_path / file, content)
    with pytest.raises(UserError, match=reason) as told:
        list(config(folder=str(tmp_path)).rows("test"))
    assert file in str(told.value)

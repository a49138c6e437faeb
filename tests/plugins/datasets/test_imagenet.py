import pytest
from owned_files import colours, picture, read_test, write

from bindspace.contract.errors import AbsentError, UserError
from bindspace_datasets.imagenet import ImageNetConfig, clip_names
from bindspace_image import ImageConfig

TENCH, CRANE, JEEP = "n01440764", "n02012849", "n03594945"


@pytest.fixture
def sorted_folders(tmp_path):
    """As PyTorch's script sorts the validation pictures."""
    folder = tmp_path / "imagenet"
    for number, synset in enumerate((TENCH, CRANE, CRANE)):
        picture(folder / f"val/{synset}/ILSVRC2012_val_{number + 1:08d}.JPEG", colours(number), format="JPEG")
    picture(folder / f"train/{TENCH}/{TENCH}_10026.JPEG", colours(9), format="JPEG")
    write(folder / f"val/{TENCH}/readme.txt", "no picture")
    return folder


@pytest.fixture
def kaggle(tmp_path):
    """As Kaggle has it: all validation pictures in one folder, their classes in a table."""
    folder = tmp_path / "kaggle"
    for number in (1, 2):
        path = folder / f"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_{number:08d}.JPEG"
        picture(path, colours(number), format="JPEG")
    lines = [
        f"ILSVRC2012_val_00000001,{JEEP} 85 1 499 272 ",
        f"ILSVRC2012_val_00000002,{TENCH} 1 2 3 4 {TENCH} 5 6 7 8",
    ]
    write(folder / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *lines, ""]))
    return folder


def test_the_thousand_classes_have_clips_names():
    names = clip_names()
    assert len(names) == 1000
    assert list(names) == sorted(names)
    assert (names[TENCH], names[CRANE], names["n03126707"], names["n15075141"]) == (
        "tench",
        "crane bird",
        "construction crane",
        "toilet paper",
    )
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    assert twice == {"missile", "sunglasses"}


def test_folders_are_classes(sorted_folders, tmp_path):
    dataset = ImageNetConfig(folder=str(sorted_folders), root=str(tmp_path / "data"))
    rows = list(dataset.rows("test"))
    path = f"val/{TENCH}/ILSVRC2012_val_00000001.JPEG"
    assert rows[0] == {"id": path, "image": path, "label": "tench"}
    assert [row["label"] for row in rows] == ["tench", "crane bird", "crane bird"]
    assert [row["image"] for row in dataset.rows("train")] == [f"train/{TENCH}/{TENCH}_10026.JPEG"]
    assert dataset.classes() == {"label": ["crane bird", "tench"]}
    assert dataset.templates() == {"label": ["clip"]}
    assert read_test(dataset, image=ImageConfig()).attributes["label"] == ["tench", "crane bird", "crane bird"]


def test_kaggles_layout_is_read_with_its_table(kaggle, tmp_path):
    dataset = ImageNetConfig(folder=str(kaggle), root=str(tmp_path / "data"))
    assert [(row["image"][-13:], row["label"]) for row in dataset.rows("test")] == [
        ("00000001.JPEG", "jeep"),
        ("00000002.JPEG", "tench"),
    ]
    assert dataset.classes() == {"label": ["jeep", "tench"]}
    assert len(read_test(dataset, image=ImageConfig())) == 2
    (kaggle / "LOC_val_solution.csv").unlink()
    with pytest.raises(AbsentError, match=r"expected the classes of val at .*LOC_val_solution\.csv"):
        list(dataset.rows("test"))


def test_other_folders_are_called_as_they_are_or_as_the_owners_list_says(tmp_path):
    for number, name in enumerate(("fire_engine", "n00015388", TENCH)):
        picture(tmp_path / f"val/{name}/{number}.png", colours(number))
    dataset = ImageNetConfig(folder=str(tmp_path))
    assert [row["label"] for row in dataset.rows("test")] == ["fire engine", "n00015388", "tench"]
    write(tmp_path / "LOC_synset_mapping.txt", f"n00015388 animal, animate being, beast\n{TENCH} tench, Tinca tinca\n")
    assert dataset.classes() == {"label": ["animal", "fire engine", "tench"]}
    write(tmp_path / "LOC_synset_mapping.txt", "n00015388\n")
    with pytest.raises(UserError, match=r"LOC_synset_mapping\.txt: expected a synset and its words in a line, got 'n0"):
        list(dataset.rows("test"))


def test_what_is_missing_is_told_with_its_address(tmp_path):
    with pytest.raises(AbsentError, match="ImageNet is read from a local folder: set folder="):
        list(ImageNetConfig().rows("test"))
    with pytest.raises(
        AbsentError, match=r"ILSVRC2012_img_val\.tar\) at .*val: download it from https://image-net\.org"
    ):
        list(ImageNetConfig(folder=str(tmp_path)).rows("test"))
    (tmp_path / "train" / TENCH).mkdir(parents=True)
    with pytest.raises(AbsentError, match=r"expected pictures in a folder for each class below .*train, got none"):
        list(ImageNetConfig(folder=str(tmp_path)).rows("train"))

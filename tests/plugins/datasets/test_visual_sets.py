import pytest
from owned_files import colours, picture, write

from bindspace.cli import main
from bindspace.contract import registry
from bindspace.contract.errors import AbsentError, UserError
from bindspace.data.tables import parse_table

SETS = ["nyu_depth", "sunrgbd", "llvip", "ego4d", "flickr30k", "coco", "coco2017", "imagenet"]


@pytest.mark.parametrize("name", SETS)
def test_each_is_registered_and_says_what_to_download_into_an_empty_folder(name, tmp_path):
    config = registry.load(name, registry.DATASETS)(folder=str(tmp_path))
    assert (config.name, registry.implementation(type(config), registry.DATASETS)) == (name, name)
    with pytest.raises(AbsentError) as refused:
        list(config.rows("test"))
    said = str(refused.value)
    assert said.startswith(f"{config.title}: expected ")
    assert str(tmp_path) in said
    assert "download it from http" in said


@pytest.mark.parametrize("name", SETS)
def test_a_split_that_there_is_not_is_answered_with_the_list(name, tmp_path):
    config = registry.load(name, registry.DATASETS)(folder=str(tmp_path))
    with pytest.raises(UserError, match=f"unknown split of {config.title} 'tset': did you mean 'test'"):
        list(config.rows("tset"))


def test_a_verb_writes_a_manifest_for_the_owners_folder(tmp_path, capsys):
    picture(tmp_path / "val2017/000000039769.jpg", colours(0))
    said = [{"image_id": 39769, "caption": f"cats {number}"} for number in range(5)]
    images = [{"id": 39769, "file_name": "000000039769.jpg"}]
    write(tmp_path / "annotations/captions_val2017.json", {"images": images, "annotations": said})
    assert main(["coco2017", f"folder={tmp_path}", f"out={tmp_path / 'out'}"]) == 0
    manifest = tmp_path / "out/manifest.jsonl"
    assert capsys.readouterr().out == f"{manifest}\n"
    (row,), _ = parse_table(manifest.read_bytes(), manifest)
    assert row == {"id": "000000039769", "image": "val2017/000000039769.jpg", "text": [f"cats {n}" for n in range(5)]}
    assert main(["coco2017", f"folder={tmp_path / 'nowhere'}", f"out={tmp_path / 'out'}"]) == 2
    assert "COCO Captions of 2017: expected its captions" in capsys.readouterr().err

import json
from pathlib import Path

import pytest

from bindspace import Cell, ModalityConfig
from bindspace.contract.errors import UserError
from bindspace.data.folders import build_manifest, count_partial, rows_of_folders


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("img/a.jpg", "img/b.jpg", "touch/b.npy", "touch/c.npy", "img/deep/b.jpg", "touch/deep/b.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "img" / "folder.jpg").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


PATTERNS = {"image": "img/*.jpg", "touch": "touch/*.npy"}


def test_files_of_one_stem_make_a_row_and_the_others_partial_rows(photos: Path) -> None:
    assert build_manifest(PATTERNS, "stem", Path("manifest.jsonl")) == 3
    rows = [json.loads(line) for line in (photos / "manifest.jsonl").read_text().splitlines()]
    assert rows == [
        {"id": "a", "image": "img/a.jpg"},
        {"id": "b", "image": "img/b.jpg", "touch": "touch/b.npy"},
        {"id": "c", "touch": "touch/c.npy"},
    ]
    assert count_partial(rows, PATTERNS) == 2


def test_paths_are_relative_to_the_manifest_wherever_the_patterns_start(photos: Path) -> None:
    (photos / "away").mkdir()
    build_manifest({"image": str(photos / "img/*.jpg")}, "stem", photos / "img" / "manifest.csv")
    assert (photos / "img" / "manifest.csv").read_text() == "id,image\na,a.jpg\nb,b.jpg\n"
    with pytest.raises(
        UserError, match=r"img/a\.jpg is outside .*away, the folder of the manifest: write the manifest into"
    ):
        build_manifest(PATTERNS, "stem", Path("away/manifest.jsonl"))
    assert list((photos / "away").iterdir()) == []


def test_files_of_one_path_below_the_folders_belong_together(photos: Path) -> None:
    rows = rows_of_folders({"image": "img/**/*.jpg", "touch": "touch/**/*.npy"}, "path", Path())
    assert [row["id"] for row in rows] == ["a", "b", "c", "deep/b"]
    assert rows[3] == {"id": "deep/b", "image": "img/deep/b.jpg", "touch": "touch/deep/b.npy"}


def test_two_files_for_one_cell_are_named(photos: Path) -> None:
    with pytest.raises(UserError, match=r"image: img/b\.jpg and img/deep/b\.jpg have the same stem 'b': .*by=path"):
        rows_of_folders({"image": "img/**/*.jpg"}, "stem", Path())


def test_an_existing_manifest_is_only_replaced_by_itself(photos: Path) -> None:
    out = photos / "manifest.jsonl"
    assert build_manifest(PATTERNS, "stem", out) == build_manifest(PATTERNS, "stem", out) == 3
    (photos / "img" / "d.jpg").touch()
    before = out.read_bytes()
    with pytest.raises(UserError, match="exists and holds something else: move it away"):
        build_manifest(PATTERNS, "stem", out)
    assert out.read_bytes() == before


class OfValues(ModalityConfig):
    cell = Cell.value


def test_lines_of_a_file_are_the_alternatives_where_cells_hold_values(photos: Path, monkeypatch) -> None:
    monkeypatch.setattr("bindspace.contract.registry.installed", lambda: {"words": []})
    monkeypatch.setattr("bindspace.contract.registry.load", {"words": OfValues}.get)
    for name, text in (("a", "one\n"), ("b", "one\n\n two \n"), ("c", "")):
        (photos / f"{name}.txt").write_text(text)
    patterns = {"image": "img/*.jpg", "words": "*.txt"}
    assert [row.get("words") for row in rows_of_folders(patterns, "stem", Path())] == ["one", ["one", "two"], []]
    (photos / "b.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"b\.txt is not UTF-8"):
        rows_of_folders(patterns, "stem", Path())


@pytest.mark.parametrize(
    ("patterns", "by", "message"),
    [
        ({"image": "img/*.png"}, "stem", r"no file matches image='img/\*\.png' \(seen from .*\): check the folder"),
        ({"image": "img/*.jpg"}, "name", "unknown value of by 'name': .*path, stem"),
        ({}, "stem", "expected at least one MODALITY=PATTERN"),
    ],
)
def test_a_pattern_without_files_and_other_mistakes_get_a_sentence(
    photos: Path, patterns, by: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_manifest(patterns, by, Path("manifest.jsonl"))
    assert not Path("manifest.jsonl").exists()

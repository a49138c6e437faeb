import hashlib
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindspace import Source
from bindspace.contract.errors import UserError
from bindspace.data.manifest import (
    Manifest,
    broken_pairs,
    check_groups,
    require_columns,
    split_validation,
    write_manifest,
)


def load(path: Path, rows: list[dict[str, Any]], modalities: list[str] | None = None, **source: Any) -> Manifest:
    return Manifest.load(Source(str(write_manifest(rows, path)), **source), modalities or ["touch", "words"])


def test_a_manifest_knows_its_rows_root_and_hash(tmp_path: Path) -> None:
    manifest = load(tmp_path / "manifest.jsonl", [{"id": 7, "touch": "a.npy", "words": None}, {"touch": "b.npy"}])
    assert manifest.rows == [{"id": "7", "touch": "a.npy"}, {"touch": "b.npy", "id": "row-2"}]
    assert (manifest.root, manifest.key) == (tmp_path, str(manifest.path))
    assert manifest.sha256 == hashlib.sha256(manifest.path.read_bytes()).hexdigest()


def test_rows_are_chosen_by_equality_or_membership(tmp_path: Path) -> None:
    rows = [{"id": str(i), "touch": "x", "split": split, "fold": i} for i, split in enumerate(["train", "val", "test"])]

    def ids(where: dict[str, Any]) -> list[str]:
        return [row["id"] for row in load(tmp_path / "m.csv", rows, where=where).rows]

    assert ids({"split": "train"}) == ["0"]
    assert ids({"split": ["train", "test"]}) == ["0", "2"]
    assert ids({"split": ["train", "test"], "fold": 2}) == ["2"]
    with pytest.raises(UserError, match=r"unknown column in `where` of .*: 'splt': did you mean 'split'"):
        ids({"splt": "train"})
    with pytest.raises(UserError, match=r"no row of .* is where .*'dev'.*: its values are .*'test', 'train', 'val'"):
        ids({"split": "dev"})


def test_a_row_without_the_column_matches_only_null(tmp_path: Path) -> None:
    rows = [{"id": "0", "touch": "x", "split": "None"}, {"id": "1", "touch": "x"}]
    assert [row["id"] for row in load(tmp_path / "m.jsonl", rows, where={"split": None}).rows] == ["0", "1"]
    assert [row["id"] for row in load(tmp_path / "m.jsonl", rows, where={"split": "None"}).rows] == ["0"]


def test_other_choices_of_one_file_have_other_keys(tmp_path: Path) -> None:
    rows = [{"id": "0", "touch": "x", "split": "a"}, {"id": "1", "touch": "x", "split": "b"}]
    a, b = (load(tmp_path / "m.jsonl", rows, where={"split": split}) for split in "ab")
    assert len({a.key, b.key, str(a.path)}) == 3
    assert a.key == load(tmp_path / "m.jsonl", rows, where={"split": "a"}, weight=3.0, batch=2).key


def test_duplicate_ids_are_named_with_their_rows(tmp_path: Path) -> None:
    rows = [{"id": name, "touch": "x"} for name in ("a", "b", "a", "b", "a")]
    with pytest.raises(UserError, match=r"has 'a' in rows 1 and 3, 'b' in rows 2 and 4 and 1 more: give each event"):
        load(tmp_path / "m.jsonl", rows)


def test_a_manifest_without_any_selected_column_says_what_it_has_and_what_is_needed(tmp_path: Path) -> None:
    rows = [{"id": "1", "tuch": "x", "tuch.unit": "N", "label": "b"}]
    with pytest.raises(
        UserError, match=r"needs columns touch or words; .*'touch': did you mean 'tuch'\? \(available: tuch\)"
    ):
        load(tmp_path / "m.jsonl", rows)


def test_a_manifest_without_both_sides_of_a_pair_says_which_is_lacking(tmp_path: Path) -> None:
    manifest = load(tmp_path / "m.jsonl", [{"id": "1", "touch": "x", "word": "y"}])
    with pytest.raises(UserError, match=r"needs columns heat and touch or touch and words; .*'heat'"):
        require_columns(manifest, [(["heat", "touch"], 2), (["touch", "words"], 2)])
    with pytest.raises(UserError, match=r"needs columns touch and words; .*'words': did you mean 'word'"):
        require_columns(manifest, [(["touch", "words"], 2)])
    whole = load(tmp_path / "n.jsonl", [{"id": "1", "touch": "x", "words": "y"}])
    require_columns(whole, [(["touch", "words"], 2)])


def test_a_source_can_leave_columns_out(tmp_path: Path) -> None:
    rows = [{"id": "1", "touch": "x", "words": "y"}]
    manifest = load(tmp_path / "m.jsonl", rows, modalities=["touch", "words"])
    limited = Manifest.load(Source(str(manifest.path), modalities=["touch"]), ["touch", "words"])
    assert (manifest.uses("words"), limited.uses("words"), limited.uses("touch")) == (True, False, True)
    with pytest.raises(UserError, match=r"\(of which its `modalities` admit touch\) needs columns touch and words"):
        require_columns(limited, [(["touch", "words"], 2)])


@pytest.mark.parametrize("setting", [{"modalities": ["tuch"]}, {"read": {"tuch": {"unit": "N"}}}])
def test_a_misspelt_column_in_a_source_is_refused(tmp_path: Path, setting: dict[str, Any]) -> None:
    path = write_manifest([{"id": "1", "touch": "x"}], tmp_path / "m.jsonl")
    with pytest.raises(UserError, match=r"unknown column in `(modalities|read)` of .*'tuch': did you mean 'touch'"):
        Manifest.load(Source(str(path), **setting), ["touch"])


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the root .*gone of .*m\.jsonl is not a folder"):
        load(tmp_path / "m.jsonl", [{"id": "1", "touch": "x"}], root=str(tmp_path / "gone"))


def test_attributes_are_what_is_neither_reserved_nor_of_a_modality(tmp_path: Path) -> None:
    row = {"id": "1", "touch": "x", "touch.unit": "N", "words": "y", "label": "b", "colour": "red", "group": "g"}
    manifest = load(tmp_path / "m.jsonl", [row | {"concept": 1, "split": "train", "size.cm": 3}])
    assert manifest.attributes(["touch", "words"]) == ["label", "colour", "size.cm"]


def test_columns_of_installed_modalities_are_no_attributes_even_when_not_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bindspace.contract.registry.installed", lambda: {"heat": []})
    manifest = load(tmp_path / "m.jsonl", [{"id": "1", "touch": "x", "heat": "y", "heat.unit": "K", "colour": "red"}])
    assert manifest.attributes(["touch"]) == ["colour"]


def test_a_group_on_both_sides_is_named_with_both_files(tmp_path: Path) -> None:
    train = load(tmp_path / "train.jsonl", [{"id": "1", "touch": "x", "group": 7}, {"id": "2", "touch": "x"}])
    test = load(tmp_path / "test.jsonl", [{"id": "1", "touch": "x"}, {"id": "2", "touch": "x", "group": "7"}])
    other = load(tmp_path / "other.jsonl", [{"id": "1", "touch": "x", "group": "8"}])
    check_groups([train], [other])
    check_groups([test], [])
    with pytest.raises(UserError, match=r"group '7' is trained on \(.*train\.jsonl\) and measured \(.*test\.jsonl\)"):
        check_groups([other, train], [test])


groups = st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=40)


@given(st.lists(groups, min_size=1, max_size=3), st.floats(0.01, 0.6), st.integers(0, 3))
def test_a_validation_split_keeps_every_row_and_parts_no_group(sources: list[list], fraction: float, seed: int) -> None:
    manifests = []
    for number, values in enumerate(sources):
        rows = [{"id": f"{number}/{i}"} | ({} if g is None else {"group": g}) for i, g in enumerate(values)]
        manifests.append(Manifest(Path(f"{number}"), Path(), rows, ["id"], "", Source(""), f"{number}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no source can spare a group is tested below
        train, val = split_validation(manifests, fraction, seed)
    check_groups(train, val)
    both = sorted(row["id"] for manifest in [*train, *val] for row in manifest.rows)
    assert both == sorted(row["id"] for manifest in manifests for row in manifest.rows)
    assert len(train) == len(manifests)
    assert all(manifest.rows for manifest in [*train, *val])
    assert len({manifest.key for manifest in [*train, *val]}) == len(train) + len(val)


def test_a_validation_split_is_the_share_asked_for_and_depends_on_the_seed_only(tmp_path: Path) -> None:
    manifest = load(tmp_path / "m.jsonl", [{"id": str(i), "touch": "x"} for i in range(200)])
    splits = [split_validation([manifest], 0.05, seed)[1][0].rows for seed in (0, 0, 1)]
    assert len(splits[0]) == len(splits[2]) == 10
    assert splits[0] == splits[1] != splits[2]


def test_an_event_in_two_sources_goes_to_one_side(tmp_path: Path) -> None:
    rows = [{"id": str(i), "touch": "x", "words": "y"} for i in range(50)]
    manifests = [load(tmp_path / name, rows) for name in ("a.jsonl", "b.csv")]
    train, val = split_validation(manifests, 0.2, 0)
    assert {row["id"] for row in val[0].rows} == {row["id"] for row in val[1].rows}
    assert len(train[0].rows) == len(train[1].rows) == 40


def test_a_source_of_one_group_keeps_its_rows_and_says_that_nothing_is_validated(tmp_path: Path) -> None:
    manifest = load(tmp_path / "m.jsonl", [{"id": str(i), "touch": "x", "group": "g"} for i in range(9)])
    with pytest.warns(UserWarning, match="data.val_fraction has no effect"):
        train, val = split_validation([manifest], 0.2, 0)
    assert (len(train[0].rows), val) == (9, [])
    assert split_validation([manifest], 0.0, 0) == ([manifest], [])


def test_broken_pairs_move_every_cell_of_one_modality_to_another_row(tmp_path):
    rows = [{"id": str(i), "touch": f"{i}.npy", "touch.rate": i, "words": f"w{i}"} for i in range(6)]
    rows.append({"id": "6", "words": "alone"})
    write_manifest(rows, tmp_path / "m.jsonl")
    whole = Manifest.load(Source(str(tmp_path / "m.jsonl")), ["touch", "words"])
    broken = broken_pairs(whole, "touch", 0)
    assert sorted(row["touch"] for row in broken.rows[:6]) == [f"{i}.npy" for i in range(6)]
    for i, row in enumerate(broken.rows[:6]):
        assert (row["words"], row["id"]) == (f"w{i}", str(i))
        assert row["touch"] == f"{row['touch.rate']}.npy" != f"{i}.npy"
    assert broken.rows[6] == {"id": "6", "words": "alone"}
    assert broken.key != whole.key
    assert broken_pairs(whole, "touch", 0).rows == broken.rows

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindspace.contract.errors import UserError
from bindspace.data.tables import alternatives, find_manifest, parse_table, table_bytes, write_manifest

ROWS = [
    {"id": "007", "image": "a.jpg", "audio.rate": 16000, "audio.mono": True, "text": ["a ball", 'says "thud", twice']},
    {"id": "8", "image": "b#1.jpg", "text": ["42"], "label": "ball\nred"},
]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_format_gives_back_the_rows_that_were_written(tmp_path: Path, suffix: str) -> None:
    path = write_manifest(ROWS, tmp_path / "new" / f"m{suffix}")
    rows, columns = parse_table(path.read_bytes(), path)
    assert rows == ROWS
    assert columns == ["id", "image", "audio.rate", "audio.mono", "text", "label"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


cells = st.one_of(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1))


@given(st.lists(cells, min_size=1, max_size=5), st.sampled_from([".jsonl", ".csv"]))
def test_any_text_survives_a_round_trip_through_text_formats(values: list, suffix: str) -> None:
    rows = [{"id": str(i), "text": value} for i, value in enumerate(values)]
    try:
        content = table_bytes(rows, Path(f"m{suffix}"))
    except UnicodeEncodeError:  # a lone surrogate is no text
        return
    found, _ = parse_table(content, Path(f"m{suffix}"))
    if suffix == ".csv":  # what looks like a JSON list is one
        rows = [row | {"text": _as_csv(row["text"])} for row in rows]
    assert found == rows


def _as_csv(value: str | list) -> str | list:
    try:
        parsed = json.loads(value) if isinstance(value, str) and value[0] + value[-1] == "[]" else value
    except ValueError:
        return value
    return parsed


def test_csv_cells_are_text_unless_a_json_list_or_information_for_read() -> None:
    content = b'id,text,fold,imu.rate,imu.unit\n007,"[""a"", ""b""]",1,100.5,g\n8,[laughs],,,\n'
    rows, columns = parse_table(content, Path("m.csv"))
    assert rows[0] == {"id": "007", "text": ["a", "b"], "fold": "1", "imu.rate": 100.5, "imu.unit": "g"}
    assert rows[1] == {"id": "8", "text": "[laughs]"}
    assert columns == ["id", "text", "fold", "imu.rate", "imu.unit"]


def test_null_and_nan_and_empty_lists_are_missing() -> None:
    assert [alternatives(value) for value in (None, float("nan"), [], [None])] == [[], [], [], []]
    assert alternatives(["a", None, "b"]) == ["a", "b"]
    assert alternatives("") == [""]


def test_single_and_several_alternatives_may_stand_in_one_parquet_column(tmp_path: Path) -> None:
    path = write_manifest(
        [{"id": "1", "text": "a"}, {"id": "2", "text": ["b", "c"]}, {"id": "3"}], tmp_path / "m.parquet"
    )
    assert [alternatives(row.get("text")) for row in parse_table(path.read_bytes(), path)[0]] == [["a"], ["b", "c"], []]


def test_a_column_of_nulls_is_a_column_still() -> None:
    assert parse_table(b'{"id": "1", "text": null}\n', Path("m.jsonl")) == ([{"id": "1"}], ["id", "text"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.jsonl", b'{"id": 1}\n\n{"id": \n', r"m\.jsonl, line 3 is not JSON"),
        ("m.jsonl", b"[1, 2]\n", "line 1: expected a JSON object with columns as keys, got list"),
        ("m.jsonl", b'{"id": 1}\n{"id": "\xff"}\n', "line 2 is not UTF-8"),
        ("m.jsonl", b"\n \n", "is empty: a manifest needs at least one row"),
        ("m.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("m.csv", b"", "is empty"),
        ("m.csv", b"id,a\n", "is empty"),
        ("m.csv", b"id,a\n1,2\n3\n", "line 3 has 1 cells and the header 2: quote cells that hold commas"),
        ("m.csv", b"id,a,a\n1,2,3\n", "two columns named 'a'"),
        ("m.csv", b'id,a\n1,"2"x\n', "line 2 is not CSV"),
        ("m.parquet", b"PAR1 but not really", "is not a readable Parquet file"),
    ],
)
def test_a_malformed_manifest_is_named_with_the_place(name: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_table(content, Path(name))


def test_a_folder_means_its_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked for manifest\.jsonl, manifest\.csv, manifest\.parquet"):
        find_manifest(tmp_path)
    (tmp_path / "manifest.csv").touch()
    assert find_manifest(tmp_path) == tmp_path / "manifest.csv"
    (tmp_path / "manifest.jsonl").touch()
    with pytest.raises(UserError, match=r"holds manifest\.jsonl and manifest\.csv: give the path"):
        find_manifest(tmp_path)


def test_a_missing_file_and_an_unknown_suffix_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no manifest at .*gone\.jsonl: looked in"):
        find_manifest(tmp_path / "gone.jsonl")
    with pytest.raises(UserError, match=r"ends in \.jsonl, \.csv, \.parquet or a folder that holds one, got .*m\.xlsx"):
        find_manifest(tmp_path / "m.xlsx")
    with pytest.raises(UserError, match=r"expected a path that ends in"):
        write_manifest([{"id": "1"}], tmp_path / "m.txt")


def test_a_parquet_column_of_two_types_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"one type only .* write \.jsonl instead"):
        write_manifest([{"id": "1", "a": 1}, {"id": "2", "a": "x"}], tmp_path / "m.parquet")
    assert list(tmp_path.iterdir()) == []

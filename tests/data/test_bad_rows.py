import json
from pathlib import Path

import pytest

from bindspace.contract.errors import UserError
from bindspace.data import BadRow, BadRows

ROWS = [
    BadRow("a.jsonl", "1", "touch", "broken"),
    BadRow("a.jsonl", "1", "words", "empty"),
    BadRow("b.jsonl", "1", "touch", "é"),
]


def test_what_several_workers_report_counts_once() -> None:
    bad = BadRows()
    bad.add(ROWS)
    bad.add([BadRow("a.jsonl", "1", "touch", "another reason")])
    assert list(bad) == ROWS


def test_a_row_with_two_bad_cells_is_one_row() -> None:
    bad = BadRows()
    bad.add(ROWS)
    bad.listing = Path("run/bad_rows.jsonl")
    bad.check(200, 0.01)
    with pytest.raises(UserError, match=r"2 of 199 rows cannot be read, and data\.max_bad_fraction is 0\.01") as error:
        bad.check(199, 0.01)
    assert "the first is '1' of a.jsonl, touch: broken; all are listed in run/bad_rows.jsonl" in str(error.value)
    BadRows().check(0, 0.0)


def test_they_are_written_as_json_lines(tmp_path: Path) -> None:
    bad = BadRows(tmp_path / "bad_rows.jsonl")
    bad.add(ROWS[:1])
    bad.add(ROWS)
    lines = [json.loads(line) for line in (tmp_path / "bad_rows.jsonl").read_text("utf-8").splitlines()]
    assert lines[2] == {"source": "b.jsonl", "id": "1", "modality": "touch", "reason": "é"}
    assert len(lines) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["bad_rows.jsonl"]

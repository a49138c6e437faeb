"""A table of others' results beside one's own: the figures, the blanks, and what stops it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from known_vectors import chain_ledger, make_space

from bindspace import Cell, DatasetConfig, Source
from bindspace.benchmark.published import measure_published
from bindspace.contract.errors import AbsentError, UserError
from bindspace.settings.run import BenchmarkSettings, DataSettings, Published

VECTORS = {
    "north": [0.0, 1.0], "east": [1.0, 0.0], "west": [-1.0, 0.0], "up": [0.6, 0.8], "n1": [0.1, 1.0],
    "n2": [0.2, 0.9], "e1": [0.9, 0.3], "w1": [-0.8, 0.1], "look north": [1.0, 0.0], "look east": [0.0, 1.0],
}  # fmt: skip
ROWS = [
    {"id": "a", "sight": "n1", "words": "north", "label": "north"},
    {"id": "b", "sight": "n2", "words": "north", "label": "north"},
    {"id": "c", "sight": "e1", "words": "east", "label": "east"},
    {"id": "d", "sight": "w1", "words": "east", "label": "east"},
    {"id": "e", "words": "east", "label": "east"},
]


@dataclass(kw_only=True)
class Compass(DatasetConfig):
    """Directions: `sight` is a word too, so that every vector is known."""

    rows_: list
    classes_: list | None = None
    names_: dict | None = None
    reads: int = 0

    def sources(self, pairs, modalities):
        """Writes the rows."""
        self.reads += 1
        path = Path(self.root) / "manifest.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows_))
        return {"train": [], "val": [], "test": [Source(str(path))]}

    def classes(self):
        return {"label": self.classes_} if self.classes_ else {}

    def names(self):
        return {"label": self.names_} if self.names_ else {}

    def templates(self):
        return {"label": ["{}"]}


@pytest.fixture
def run(tmp_path):
    """Measures rows of a table on one data set, and returns the report's cells."""

    def measured(rows, dataset=None, **changes):
        names = ["sight", "words"]
        space = make_space(2, names, chain_ledger(names), VECTORS)
        space.configs["sight"].cell = Cell.value
        table = BenchmarkSettings(published=rows, permutations=50, **changes)
        of = dataset if callable(dataset) else lambda row: dataset or Compass(root=str(tmp_path / "d"), rows_=ROWS)
        measure_published(space, of, table, DataSettings(), tmp_path / "out", name="S", progress=False)
        return json.loads((tmp_path / "out" / "report.json").read_text())["published"]

    return measured


def row(metric="accuracy", query="sight", gallery="words", figure=50.0, **changes):
    return Published("compass", metric, query, gallery, figure, "a paper, table 1", **changes)


def test_accuracy_is_among_all_classes_those_too_that_no_event_has(run, tmp_path):
    """Of n1, n2, e1 and w1 the last is taken for north; called west, and with `west` to choose from, all are right."""
    (cell,) = run([row()])
    assert (cell["ours"], cell["published"], cell["chance"], cell["n"], cell["left_out"]) == (0.75, 0.5, 0.5, 4, 1)
    assert cell["ci95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert (cell["status"], cell["blank"], cell["source"]) == ("trained", None, "a paper, table 1")
    rows = [each | ({"label": "west"} if each["id"] == "d" else {}) for each in ROWS]
    classes = ["east", "north", "up", "west"]
    (cell,) = run([row()], Compass(root=str(tmp_path / "d"), rows_=rows, classes_=classes))
    assert (cell["ours"], cell["chance"], cell["classes"]) == (1.0, 0.25, 4)


def test_a_class_of_several_names_counts_by_its_best(run, tmp_path):
    (cell,) = run([row()], Compass(root=str(tmp_path / "d"), rows_=ROWS, names_={"east": ["east", "west"]}))
    assert cell["ours"] == 1.0


def test_several_labels_are_measured_by_mean_average_precision(run, tmp_path):
    """n1, n2 lead for north, and so do e1, w1 for east in that order; `up` is w1 alone, which comes last of four."""
    labels = {"n1": ["north"], "n2": ["north"], "e1": ["east"], "w1": ["east", "up"]}
    rows = [{**each, "label": labels[each["sight"]]} for each in ROWS[:4]]
    (cell,) = run([row("map")], Compass(root=str(tmp_path / "d"), rows_=rows, classes_=["east", "north", "up"]))
    assert cell["ours"] == pytest.approx((1.0 + (1 + 2 / 4) / 2 + 1 / 4) / 3)


def test_all_recalls_of_a_data_set_come_from_one_ranking(run, tmp_path):
    """Among two distinct words: w1 has its own behind the other."""
    dataset = Compass(root=str(tmp_path / "d"), rows_=ROWS)
    cells = run([row("recall@1"), row("recall@2"), row("accuracy")], dataset, k=[1])
    assert [cell["ours"] for cell in cells] == [0.75, 1.0, 0.75]
    assert cells[0]["chance"] == 0.5
    assert cells[0]["gallery_size"] == 2
    assert dataset.reads == 2


def test_what_is_absent_stays_blank_with_the_reason(run, tmp_path, capsys):
    def absent(row):
        raise AbsentError("download it from http://example.org into FOLDER")

    cells = run([row(), row(query="radar"), row(query="radar", gallery="sonar")], absent)
    assert [cell["ours"] for cell in cells] == [None, None, None]
    assert [cell["blank"] for cell in cells] == [
        "download it from http://example.org into FOLDER",
        "the space has no radar",
        "the space has no radar and no sonar",
    ]
    printed = capsys.readouterr().out
    assert "blank: compass, radar → words: the space has no radar\n" in printed
    written = (tmp_path / "out" / "report.md").read_text()
    assert "| compass | sight → words | accuracy | 50.0 |  |" in written
    assert "* compass, sight → words: download it from http://example.org into FOLDER" in written
    assert written.rstrip().endswith("* a paper, table 1")


def test_a_row_that_fails_stops_nothing_but_is_told_at_the_end(run, tmp_path):
    with pytest.raises(UserError, match=r"1 of 2 rows failed, compass first: unknown column of compass 'colour'"):
        run([row(attribute="colour"), row()])
    cells = json.loads((tmp_path / "out" / "report.json").read_text())["published"]
    assert [(cell["failed"], cell["ours"]) for cell in cells] == [(True, None), (False, 0.75)]
    assert "failed: unknown column" in (tmp_path / "out" / "report.md").read_text()


def test_a_tower_that_reads_none_of_the_files_leaves_the_row_blank(run, tmp_path):
    rows = [{**each, "sight": f"unheard of {each['id']}"} for each in ROWS[:4]]
    (cell,) = run([row()], Compass(root=str(tmp_path / "d"), rows_=rows))
    assert cell["blank"].startswith("the space's sight reads none of the files: KeyError: 'unheard of a'")
    assert not cell["failed"]
    rows[0]["sight"] = "n1"
    with pytest.raises(UserError, match=r"1 of 1 rows failed, compass first: 3 of 4 rows cannot be read"):
        run([row()], Compass(root=str(tmp_path / "d"), rows_=rows))
    assert len((tmp_path / "out" / "bad_rows.jsonl").read_text().splitlines()) == 3


def test_a_label_that_is_no_class_is_named(run, tmp_path):
    with pytest.raises(UserError, match=r"compass has the label 'east', which is none of its 2 classes"):
        run([row()], Compass(root=str(tmp_path / "d"), rows_=ROWS, classes_=["north", "up"]))


@pytest.mark.parametrize("metric", ["acuracy", "recall@", "recall@0", "recall@x"])
def test_an_unknown_metric_is_refused_before_anything_is_measured(metric, run, tmp_path):
    with pytest.raises(UserError, match=rf"unknown metric '{metric}' of compass: available: accuracy, map, recall@K"):
        run([row(), row(metric)])
    assert not (tmp_path / "out").exists()


def test_templates_of_the_user_go_before_those_of_the_data_set(run):
    (cell,) = run([row()], templates={"label": ["look {}"]})
    assert cell["ours"] == 0.25

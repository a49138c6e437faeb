import hashlib
import math
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bindspace import BadSample, Cell, Source
from bindspace.data.manifest import Manifest, write_manifest
from bindspace.data.reading import Column, Reader, evaluation_batches, open_cell, read_cell, size_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    np.save(tmp_path / "root" / "sub" / "1.npy", np.ones(4, np.float32))
    np.save(tmp_path / "outside.npy", np.ones(4, np.float32))
    return tmp_path / "root"


def test_the_digest_is_the_sha256_of_the_file(configs, root: Path) -> None:
    sample, digest = read_cell(configs["touch"], "sub/1.npy", root)
    assert sample.tolist() == [1, 1, 1, 1]
    assert digest == hashlib.sha256((root / "sub/1.npy").read_bytes()).digest()


def test_read_gets_the_path_and_the_fragment_beside_its_information(configs, root: Path) -> None:
    read_cell(configs["touch"], "sub/1.npy#t=2&xywh=1,2,3,4", root, {"unit": "N", "t": "a column"})
    info = {"unit": "N", "t": (2.0, math.inf), "xywh": (1.0, 2.0, 3.0, 4.0)}
    assert configs["touch"].read_calls == [(root / "sub/1.npy", info)]


def test_the_digest_tells_parts_of_a_file_apart_but_not_their_spelling(root: Path) -> None:
    digests = [open_cell(Cell.path, f"sub/1.npy{part}", root).digest() for part in ("", "#t=,5", "#t=0,5.0", "#t=1,5")]
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3


def test_the_digest_of_a_value_is_that_of_its_nfc_text() -> None:
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    assert composed != decomposed
    digests = {open_cell(Cell.value, text, Path()).digest() for text in (composed, decomposed)}
    assert digests == {hashlib.sha256(composed.encode()).digest()}
    assert open_cell(Cell.value, "a#t=5,2", Path()).source == "a#t=5,2"


def test_bytes_in_a_cell_are_the_content_itself(root: Path) -> None:
    medium = open_cell(Cell.path, b"RIFF", root)
    assert (medium.source, medium.digest()) == (b"RIFF", hashlib.sha256(b"RIFF").digest())


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("../outside.npy", "absolute paths and `..` are refused"),
        ("sub/../sub/1.npy", "absolute paths and `..` are refused"),
        ("/etc/hostname", "absolute paths and `..` are refused"),
        ("link.npy", "a link that leads out of it"),
        ("out/outside.npy", "a link that leads out of it"),
        ("sub/2.npy", "expected a file, found none at"),
        ("sub", "expected a file, found none at"),
        ("", "expected a path, got str ''"),
        (7, "expected a path, got int 7"),
        ("a\0b", "expected a path that can be opened"),
        ("x" * 5000, "expected a path that can be opened|found none"),
        ("loop", "expected a path that can be opened|found none"),
        ("sub/1.npy#t=9,3", "start before end, got t=9,3"),
    ],
)
def test_a_cell_never_leads_out_of_the_root_and_is_refused_with_a_reason(root: Path, cell: Any, reason: str) -> None:
    (root / "link.npy").symlink_to(root.parent / "outside.npy")
    (root / "out").symlink_to(root.parent, target_is_directory=True)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(BadSample, match=reason):
        open_cell(Cell.path, cell, root)


def test_a_link_within_the_root_is_followed(configs, root: Path) -> None:
    (root / "inner.npy").symlink_to(root / "sub" / "1.npy")
    assert read_cell(configs["touch"], "inner.npy", root)[0].tolist() == [1, 1, 1, 1]


def test_a_file_that_may_not_be_read_is_a_bad_sample(root: Path) -> None:
    medium = open_cell(Cell.path, "sub/1.npy", root)
    (root / "sub/1.npy").unlink()
    with pytest.raises(BadSample, match="expected a readable file, got No such file"):
        medium.digest()


def test_whatever_read_raises_is_a_bad_sample(configs, root: Path) -> None:
    (root / "empty.npy").touch()
    with pytest.raises(BadSample, match="EOFError: No data left in file"):
        read_cell(configs["touch"], "empty.npy", root)


def column(configs, root: Path, rows: list[dict[str, Any]], name: str = "touch", **source: Any) -> Column:
    path = write_manifest([{"id": str(i), **row} for i, row in enumerate(rows)], root / "manifest.jsonl")
    return Column(Manifest.load(Source(str(path), **source), [name]), name, configs[name])


def test_cells_are_numbered_row_after_row(configs, root: Path) -> None:
    found = column(configs, root, [{"words": ["a", "b"]}, {}, {"words": "c"}, {"words": []}], "words")
    assert (len(found), found.cells) == (3, ["a", "b", "c"])
    assert (found.offsets.tolist(), found.row.tolist(), found.counts.tolist()) == (
        [0, 2, 2, 3, 3],
        [0, 0, 2],
        [2, 0, 1, 0],
    )


def test_the_rows_information_stands_over_the_settings_of_the_source(configs, root: Path) -> None:
    rows = [{"touch": "sub/1.npy", "touch.unit": "mN"}, {"touch": "sub/1.npy", "touch.unit": None, "heat.unit": "K"}]
    found = column(configs, root, rows, read={"touch": {"unit": "N", "axes": 3}})
    assert [found.info(cell) for cell in (0, 1)] == [{"unit": "mN", "axes": 3}, {"unit": "N", "axes": 3}]


def test_a_cell_is_read_once_while_there_is_memory_and_each_time_without(configs, root: Path) -> None:
    found = column(configs, root, [{"touch": "sub/1.npy"}, {"touch": ["sub/1.npy"]}])
    cells = np.array([0, 1, 0])
    for reader, calls in ((Reader(1.0), 2), (Reader(0.0), 9)):
        configs["touch"].read_calls.clear()
        for _ in range(3):
            samples, kept = reader.read(found, cells)
            assert (len(samples), kept.tolist()) == (3, [True] * 3)
        assert len(configs["touch"].read_calls) == calls


def test_memory_is_kept_to_its_limit_and_the_first_samples_stay(configs, root: Path) -> None:
    size = size_of(np.ones(4, np.float32))
    found = column(configs, root, [{"touch": "sub/1.npy"}] * 4)
    reader = Reader(2.5 * size / 2**30)
    for _ in range(2):
        reader.read(found, np.arange(4))
    assert len(configs["touch"].read_calls) == 2 + 2 * 2
    assert 0 <= reader.memory_left < size


def test_a_file_is_hashed_once_however_many_parts_of_it_are_used(configs, root: Path, monkeypatch) -> None:
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: hashed.append(file.name) or digest(file, name))
    found = column(configs, root, [{"touch": f"sub/1.npy#t={i}"} for i in range(5)])
    reader = Reader()
    for _ in range(2):
        assert reader.identify(found, np.arange(5)).all()
    assert len(hashed) == 1
    assert configs["touch"].read_calls == []
    assert len({digest.tobytes() for digest in reader.digests(found, np.arange(5))}) == 5


def test_a_bad_cell_is_reported_once_with_its_reason_and_never_tried_again(configs, root: Path) -> None:
    np.save(root / "nan.npy", np.full(4, np.nan, np.float32))
    found = column(configs, root, [{"touch": "sub/1.npy"}, {"touch": "nan.npy"}, {"touch": "gone.npy"}])
    reader = Reader()
    samples, kept = reader.read(found, np.arange(3))
    assert (len(samples), kept.tolist()) == (1, [True, False, False])
    bad = reader.take_bad()
    assert [(row.id, row.modality, row.source) for row in bad] == [
        (i, "touch", str(root / "manifest.jsonl")) for i in "21"
    ]
    assert bad[1].reason == "nan.npy: expected four finite numbers, got NaN"
    reader.read(found, np.arange(3))
    assert (reader.take_bad(), len(configs["touch"].read_calls)) == ([], 3)


def test_one_reader_does_not_mix_up_settings_of_a_modality(configs, root: Path) -> None:
    first = column(configs, root, [{"touch": "sub/1.npy"}])
    other = type(configs["touch"])(width=8)
    reader = Reader(1.0)
    reader.read(first, np.array([0]))
    reader.read(Column(first.manifest, "touch", other), np.array([0]))
    assert len(other.read_calls) == 1


@pytest.mark.parametrize(
    ("sample", "at_least"),
    [
        (np.zeros(1000), 8000),
        (torch.zeros(1000), 4000),
        (b"x" * 1000, 1000),
        ("x" * 1000, 1000),
        (Image.new("L", (100, 100)), 10_000),
        (Image.new("RGB", (100, 100)), 30_000),
        ({"a": (np.zeros(1000), [np.zeros(1000)])}, 16_000),
    ],
)
def test_the_size_of_a_sample_is_about_right(sample: Any, at_least: int) -> None:
    assert at_least <= size_of(sample) <= at_least * 1.5 + 2000


def test_evaluation_batches_cover_all_cells_in_order_and_skip_bad_ones(configs, root: Path) -> None:
    rows = [{"words": ["aa", "b"]}, {}, {"words": ["", "dddd"]}, {"words": "ccc"}]
    manifest = column(configs, root, rows, "words").manifest
    reader = Reader()
    batches = list(evaluation_batches(manifest, configs["words"], "words", 2, reader))
    assert [cells.tolist() for cells, _ in batches] == [[0, 1], [3], [4]]
    assert torch.cat([batch["x"][:, 0] for _, batch in batches]).tolist() == [2, 1, 4, 3]
    assert [(row.id, row.reason) for row in reader.take_bad()] == [("2", "expected a word, got none")]

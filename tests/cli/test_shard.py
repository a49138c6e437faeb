"""`bindspace shard` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindspace.data.tables import write_manifest


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs in a folder with a manifest of one picture."""
    monkeypatch.chdir(tmp_path)
    Path("my").mkdir()
    Path("my/a.png").write_bytes(b"picture")
    write_manifest([{"id": "a", "image": "a.png"}], "my/manifest.jsonl")


def test_a_manifest_is_written_as_shards_and_they_are_indexed_anew(call):
    outcome = call("shard", "manifest=my", "out=s")
    assert (outcome.code, outcome.out) == (0, "s: 1 rows, 1 files in 1 shards, 0.0 MiB\n")
    Path("t").mkdir()
    Path("s/000000.tar").rename("t/x.tar")
    outcome = call("shard", "tars=t/*.tar", "out=t")
    assert (outcome.code, outcome.out) == (0, "t: 1 rows\n")
    assert "shard manifest=MANIFEST" in call("shard", "--help").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["manifest=my"], "out is missing: write out=DIR"),
        (["out=s"], "give one"),
        (["out=s", "manifest=my", "tars=x"], "give one"),
        (["out=s", "manifest=my", "columns={a: b}"], "columns has no effect with manifest"),
        (["out=s", "tars=my/*.tar", "size=1"], "size has no effect with tars"),
        (["out=s", "tars=my/*.tar", "columns=image"], "columns: expected a mapping"),
        (["out=s", "manifest=my", "size=big"], "size: expected a number of MiB, got 'big'"),
        (["out=my", "manifest=my"], "my is not empty"),
        (["out=s", "manfiest=my"], "did you mean 'manifest'?"),
        (["out=s", "manifest=my/gone.jsonl"], "no manifest at"),
    ],
)
def test_mistakes_are_a_sentence_and_leave_nothing(refused, arguments, sentence):
    assert sentence in refused("shard", *arguments)
    assert [path.name for path in Path().iterdir()] == ["my"]

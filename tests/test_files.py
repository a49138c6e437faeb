"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib

import pytest

from bindspace.contract.errors import UserError
from bindspace.io import files
from bindspace.io.files import inside, replace_folder, sha256, whole_file, write_bytes, write_json, write_text


def test_a_file_is_written_with_its_folder_and_nothing_is_left_beside_it(tmp_path):
    path = write_text(tmp_path / "a" / "b.txt", "caf\u00e9")
    assert path.read_text(encoding="utf-8") == "caf\u00e9"
    assert [found.name for found in path.parent.iterdir()] == ["b.txt"]
    assert sha256(path) == hashlib.sha256("caf\u00e9".encode()).hexdigest()


def test_a_write_that_fails_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_bytes(tmp_path / "x", b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(
        UserError, match=r"cannot write .*x: No space left on device: choose another folder or make room"
    ):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_the_place_of_an_older_one_when_it_is_complete(tmp_path):
    write_text(tmp_path / "f" / "old.txt", "old")
    with replace_folder(tmp_path / "f") as new:
        write_text(new / "new.txt", "new")
        assert (tmp_path / "f" / "old.txt").exists()
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_an_error_in_the_block_leaves_everything_as_it_was(tmp_path):
    write_text(tmp_path / "f" / "old.txt", "old")

    def stopped():
        with replace_folder(tmp_path / "f") as new:
            write_text(new / "new.txt", "new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["old.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_link_to_a_folder_stays_and_what_it_points_at_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "real")
    with replace_folder(tmp_path / "latest") as new:
        write_text(new / "x", "x")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "real" / "x").exists()


def test_a_path_may_be_a_link_within_its_folder_but_not_out_of_it(tmp_path):
    write_text(tmp_path / "f" / "a", "a")
    write_text(tmp_path / "secret", "s")
    (tmp_path / "f" / "b").symlink_to("a")
    (tmp_path / "f" / "c").symlink_to("../secret")
    assert inside(tmp_path / "f", "b").read_text() == "a"
    with pytest.raises(UserError, match="leads out of its folder"):
        inside(tmp_path / "f", "c")


def write_half(place):
    """A writer that fails on the way."""
    place.write_text("half")
    raise ArithmeticError


def test_a_file_that_somebody_else_writes_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "model.safetensors"
    with whole_file(target) as place:
        assert place.suffix == ".safetensors"
        place.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    with pytest.raises(ArithmeticError), whole_file(target) as place:
        write_half(place)
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]

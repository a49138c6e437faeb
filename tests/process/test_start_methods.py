"""Loader workers that are forked, spawned, or started by a server get the same data and give the same batches."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import loading
import pytest
import torch
from loading import NAMES, configs
from running import bindspace

from bindspace.contract import Augment, Source
from bindspace.data import BadRows, Batch, Manifest
from bindspace.space import Space
from bindspace.vectors import cache_vectors

pytestmark = pytest.mark.process
Started = Callable[..., list[Batch]]


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def started(request, tmp_path) -> Started:
    """Batches of two workers that are started by the method, in a process that does nothing else."""

    def run(source: Source | Manifest, vectors: dict | None = None) -> list[Batch]:
        place = tmp_path / "given"
        place.write_bytes(pickle.dumps((request.param, source, 2, vectors)))
        done = subprocess.run([sys.executable, loading.__file__, str(place)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return pickle.loads(place.read_bytes())

    return run


@pytest.fixture(scope="module")
def folders(world: Path) -> dict[str, Path]:
    """The events of all three modalities, as loose files and as shards."""
    bindspace("shard", "manifest=test", "out=sharded", cwd=world)
    return {"loose": world / "test", "sharded": world / "sharded"}


def assert_equal(some: list[Batch], others: list[Batch]) -> None:
    """Fails unless two runs saw the same, to the bit."""
    for one, other in zip(some, others, strict=True):
        assert (one.ids, one.groups, one.bad) == (other.ids, other.groups, other.bad)
        for a, b in ((one.rows, other.rows), (one.digests, other.digests), (one.vectors, other.vectors)):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[name], b[name]) for name in a)
        assert one.inputs.keys() == other.inputs.keys()
        for name, prepared in one.inputs.items():
            assert prepared.keys() == other.inputs[name].keys()
            assert all(torch.equal(tensor, other.inputs[name][key]) for key, tensor in prepared.items()), name


@pytest.mark.parametrize("kind", ["loose", "sharded"])
def test_batches_are_the_same_however_workers_are_started(folders, started, kind):
    source = Source(str(folders[kind]), augment=Augment.strong)
    alone = loading.batches(source, 0)
    assert len(alone) > loading.STEPS  # validation, too
    assert_equal(started(source), alone)


def test_vectors_are_looked_up_however_workers_are_started(folders, started, tmp_path):
    manifest = Manifest.load(Source(str(folders["loose"])), NAMES)
    space = Space(configs(), 16, "image")
    found = cache_vectors(space, ["image"], [manifest], BadRows(), tmp_path / "cache", shown=False)
    alone = loading.batches(manifest, 0, found)
    assert set(alone[0].vectors) == {"image"}
    assert_equal(started(manifest, found), alone)


def test_a_cell_that_cannot_be_read_is_told_however_workers_are_started(folders, started):
    manifest = Manifest.load(Source(str(folders["loose"])), NAMES)
    rows = [row | ({"image": "image/none.jpg"} if number == 4 else {}) for number, row in enumerate(manifest.rows)]
    told = {(row.id, row.modality) for batch in started(replace(manifest, rows=rows)) for row in batch.bad}
    assert told == {(manifest.rows[4]["id"], "image")}

"""Reading throughput in samples per second: loose files, shards by index, a webdataset stream; audio whole and in part.

usage: python benchmarks/data.py [events] [rounds]     One JSON line per case: samples a second of one core, and the
ratio to the first case of its group in the same rounds. Files are in the page cache: this measures software, not disks.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import webdataset
from measure import begin, emit, interleaved

from bindspace import Source
from bindspace.contract import registry
from bindspace.data.manifest import Manifest
from bindspace.data.reading import Column, Medium
from bindspace.data.shard_writing import write_shards
from bindspace.data.tables import write_manifest

SIDES = ("image", "audio")
BYTES = 21_000  # of a side; an event is a pair of 42 kB
SECONDS, PART = 60, 2  # of a recording, and of the fragment wanted


def main(events: int = 2000, rounds: int = 5) -> None:
    """Prints a line for each case."""
    begin()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare("read", bytes_cases(folder, events), rounds, events)
        compare("decode", audio_cases(folder), rounds, 20)
    compare("mel", mel_cases(), rounds, 64)


def compare(group: str, cases: dict[str, Callable[[], object]], rounds: int, samples: int) -> None:
    """Times the cases of one group against each other."""
    times, first = interleaved(cases, rounds), next(iter(cases))
    for case in cases:
        rate, ratio = samples / times.median(case), 1 / times.ratio(case, first)
        emit(f"{group} {case}", samples_per_second=rate, times_the_first=ratio)


def bytes_cases(folder: Path, events: int) -> dict[str, Callable[[], object]]:
    """An event's two files in random order, not decoded; and with their digests, as a training batch needs them."""
    rng, rows = np.random.default_rng(0), []
    for side in SIDES:
        (folder / "files" / side).mkdir(parents=True)
    for i in range(events):
        rows.append({side: f"{side}/{i}.bin" for side in SIDES})
        for side in SIDES:
            (folder / "files" / rows[-1][side]).write_bytes(rng.bytes(BYTES))
    write_manifest(rows, folder / "files" / "manifest.jsonl")
    write_shards(folder / "files", folder / "shards", shown=False)
    order = rng.permutation(events).tolist()
    columns = {kind: columns_of(folder / kind) for kind in ("files", "shards")}

    def read(kind: str, use: Callable[[Medium], object]) -> None:
        for event in order:
            for column in columns[kind]:
                use(column.medium(event))

    def stream() -> None:
        shards = sorted(map(str, (folder / "shards").glob("*.tar")))
        assert sum(1 for _ in webdataset.WebDataset(shards, shardshuffle=False)) == events

    return {
        "loose files": lambda: read("files", lambda medium: medium.source.read_bytes()),
        "shards": lambda: read("shards", lambda medium: medium.source.read_bytes()),
        "webdataset stream, in order": stream,
        "loose files and digests": lambda: read("files", lambda medium: (medium.digest(), medium.source.read_bytes())),
        "shards and digests": lambda: read("shards", lambda medium: (medium.digest(), medium.source.read_bytes())),
    }


def columns_of(folder: Path) -> list[Column]:
    """The two sides of a source."""
    manifest = Manifest.load(Source(str(folder)), SIDES)
    return [Column(manifest, side, registry.load(side)()) for side in SIDES]


def audio_cases(folder: Path) -> dict[str, Callable[[], object]]:
    """A FLAC recording at 44.1 kHz decoded and resampled: all of it, or `#t=` from a file and from a shard's bytes."""
    config, path = registry.load("audio")(), folder / "long.flac"
    wave = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * 44100)
    soundfile.write(path, wave, 44100, subtype="PCM_16")
    data, part = path.read_bytes(), {"t": (30.0, 30.0 + PART)}

    def times(call: Callable[[], object]) -> None:
        for _ in range(20):
            call()

    return {
        f"all {SECONDS} s": lambda: times(lambda: config.read(path, {})),
        f"{PART} s of a file": lambda: times(lambda: config.read(path, part)),
        f"{PART} s of a shard": lambda: times(lambda: config.read(io.BytesIO(data).getvalue(), part)),
    }


def mel_cases() -> dict[str, Callable[[], object]]:
    """`prepare` of 64 clips, together and one by one."""
    config = registry.load("audio")()
    clips = [0.1 * torch.randn(32000).numpy() for _ in range(64)]
    return {
        "64 clips in one call": lambda: config.prepare(clips),
        "64 clips one by one": lambda: [config.prepare([clip]) for clip in clips],
    }


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))

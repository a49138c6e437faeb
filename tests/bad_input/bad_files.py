"""Ten good events as files of five modalities, and files of which each is bad in one way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

MODALITIES = ["image", "text", "audio", "depth", "imu"]
GOOD = 10  # events
RATE = 16000

# file -> modality, what the sentence says came, and the next step that it names
BAD = {
    "truncated.wav": ("audio", "got a truncated one", "copy it again"),
    "silent.wav": ("audio", "got digital silence", "leave the cell out"),
    "brief.wav": ("audio", "expected at least 0.02 s of sound, got 0.005 s", "lower `min_seconds` or leave it out"),
    "empty.jpg": ("image", "got 0 bytes", "write the file again"),
    "glass.png": ("image", "got a transparent one", "`read: {image: {background: white}}`"),
    "deep.png": ("image", "expected 8 bits per channel, got 16", "`read: {image: {bits16: scale}}`"),
    "nan.csv": ("imu", "got nan in ay at sample 7", "cut it out"),
    "infinite.csv": ("imu", "got inf in gz at sample 0", "cut it out"),
    "metres.png": ("depth", "got 0.002 m by reading the values in mm", "set `depth.unit` to one of m, cm, mm"),
}


def write_files(folder: Path) -> None:
    """The files of the good events, and those of `BAD` in the folder `bad`."""
    rng = np.random.default_rng(0)
    time = np.arange(RATE // 4) / RATE
    for number in range(GOOD):
        _write(folder / f"{number}.png", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        _write(folder / f"{number}-depth.png", rng.integers(900, 3000, (48, 48)).astype(np.uint16))
        soundfile.write(folder / f"{number}.wav", 0.3 * np.sin(2000 * (1 + number / 5) * time), RATE)
        _write_motion(folder / f"{number}.csv", rng.normal(0, 1, (40, 6)))
    bad = folder / "bad"
    bad.mkdir()
    whole = (folder / "0.wav").read_bytes()
    (bad / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(bad / "silent.wav", np.zeros(RATE // 4), RATE)
    soundfile.write(bad / "brief.wav", np.full(RATE // 200, 0.3), RATE)  # 5 ms
    (bad / "empty.jpg").write_bytes(b"")
    Image.new("RGBA", (64, 64), (200, 100, 50, 128)).save(bad / "glass.png")
    _write(bad / "deep.png", rng.integers(0, 60000, (64, 64)).astype(np.uint16))
    _write_motion(bad / "nan.csv", rng.normal(0, 1, (40, 6)), (7, 1, np.nan))
    _write_motion(bad / "infinite.csv", rng.normal(0, 1, (40, 6)), (0, 5, np.inf))
    _write(bad / "metres.png", np.full((48, 48), 2, np.uint16))


def _write(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def _write_motion(path: Path, signal: np.ndarray, fault: tuple[int, int, float] | None = None) -> None:
    """Accelerometer and gyroscope at 100 Hz, with one value replaced by a fault."""
    signal[:, 2] += 9.81
    if fault is not None:
        signal[fault[0], fault[1]] = fault[2]
    lines = [f"{number / 100:.2f}," + ",".join(f"{value:.4f}" for value in row) for number, row in enumerate(signal)]
    path.write_text("\n".join(["time,ax,ay,az,gx,gy,gz", *lines]))


def event(number: int, **changes: str) -> dict[str, str]:
    """A row of a good event, with some cells changed; after the tenth the files begin anew, the ids do not."""
    name = number % GOOD
    cells = {"image": f"{name}.png", "audio": f"{name}.wav", "depth": f"{name}-depth.png", "imu": f"{name}.csv"}
    return {"id": f"e{number}", "text": f"thing {name} of ten", **cells, **changes}


def good_events() -> list[dict[str, str]]:
    """Rows in which all is well."""
    return [event(number) for number in range(GOOD)]


def bad_events() -> list[dict[str, str]]:
    """A row for each bad file, whose other cells are good."""
    return [event(GOOD + i, **{modality: f"bad/{name}"}) for i, (name, (modality, *_)) in enumerate(BAD.items())]

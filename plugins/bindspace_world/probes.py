"""Multiple-choice probes: attribute binding (swapped attributes), and typographic attacks (a written word)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .attributes import ATTRIBUTES, Events, draw_events
from .files import jpeg
from .picture import pictures
from .pool import new_folder
from .writing import MANIFEST

EVENTS = 200
NAMES = {
    "swap": "whose colour is whose: a red cube beside a blue sphere, against a blue cube beside a red sphere",
    "plain": "the shape seen, against another one",
    "typographic": "the same with the word of the other shape written across the picture",
}


def write_probes(folder: Path, seed: int) -> None:
    """Writes the three probes into one folder: `manifest.jsonl` with a column `probe`, and pictures."""
    with new_folder(folder) as new:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(new, seed)]
        (new / MANIFEST).write_text("".join(lines), encoding="utf-8")


def _rows(folder: Path, seed: int) -> Iterator[dict[str, Any]]:
    (folder / "image").mkdir()
    events = draw_events(seed, np.arange(2 * EVENTS), "seen")
    seen = pictures(events)
    for number in range(EVENTS):
        first, second = events.labels(number), events.labels(EVENTS + number)
        if first["colour"] != second["colour"] and first["shape"] != second["shape"]:
            words = [f"a {first['colour']} {first['shape']} beside a {second['colour']} {second['shape']}"]
            words += [f"a {second['colour']} {first['shape']} beside a {first['colour']} {second['shape']}"]
            yield _row(folder, "swap", number, beside(seen[number], seen[EVENTS + number]), words)
        other = _another_shape(events, number)
        words = [f"a {first['shape']}", f"a {other}"]
        yield _row(folder, "plain", number, seen[number], words)
        yield _row(folder, "typographic", number, written(seen[number], other), words)


def _row(folder: Path, probe: str, number: int, pixels: np.ndarray, words: list[str]) -> dict[str, Any]:
    path = f"image/{probe}-{number:04d}.jpg"
    (folder / path).write_bytes(jpeg(pixels))
    return {"id": f"{probe}-{number:04d}", "image": path, "text": words, "probe": probe}


def _another_shape(events: Events, number: int) -> str:
    shapes = ATTRIBUTES["shape"]
    return shapes[(int(events.shape[number]) + 1 + number % (len(shapes) - 1)) % len(shapes)]


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures (64, 64, 3) side by side at half their size, in the middle of a grey one of the same size."""
    side = len(left)
    halves = [picture.reshape(side // 2, 2, side // 2, 2, 3).mean((1, 3)) for picture in (left, right)]
    canvas = np.full(left.shape, 128, np.uint8)
    canvas[side // 4 : side // 4 + side // 2] = np.hstack(halves).round()
    return canvas


def written(picture: np.ndarray, word: str) -> np.ndarray:
    """The picture with a word across its middle, white with a dark edge."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    font = ImageFont.load_default(size=15)
    ImageDraw.Draw(image).text(
        (image.width / 2, image.height / 2), word, "white", font, anchor="mm", stroke_width=1, stroke_fill="black"
    )
    return np.asarray(image)

"""A sheet of twelve events as a person sees them: image, depth, thermal image, spectrogram, IMU curves, caption."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .attributes import Events, draw_events
from .captions import captions
from .writing import render

if TYPE_CHECKING:
    from PIL.Image import Image

_CELL = 136
_COLUMNS = 6
_TEXT = 64
_CURVES = ((235, 90, 80), (90, 200, 90), (90, 140, 250), (240, 170, 60), (180, 90, 220), (60, 200, 200))


def contact_sheet(out: Path, seed: int = 7, combinations: str = "seen", events: int = 12) -> Path:
    """Draws the first events of a seed into a PNG."""
    from PIL import Image, ImageDraw

    drawn = draw_events(seed, np.arange(events), combinations)
    cells = [_pictures(drawn), _depths(drawn), _thermals(drawn), _spectrograms(drawn), _curves(drawn)]
    said = captions(drawn)
    height = len(cells) * _CELL + _TEXT
    sheet = Image.new("RGB", (_COLUMNS * _CELL, -(-events // _COLUMNS) * height), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for i in range(events):
        x, y = i % _COLUMNS * _CELL, i // _COLUMNS * height
        for k, column in enumerate(cells):
            sheet.paste(column[i].resize((_CELL - 4, _CELL - 4), Image.Resampling.NEAREST), (x, y + _TEXT + k * _CELL))
        pen.multiline_text((x + 2, y + 4), textwrap.fill(said[i][0], 22), fill=(190, 240, 190))
    sheet.save(out)
    return out


def _image(pixels: np.ndarray) -> Image:
    from PIL import Image

    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _pictures(events: Events) -> list[Image]:
    return [_image(pixels) for pixels in render("image", events)]


def _depths(events: Events) -> list[Image]:
    """Near is bright, no reading is black."""
    return [_image(np.where(values > 0, 255 - (values - 1000.0) / 14, 0)) for values in render("depth", events)]


def _thermals(events: Events) -> list[Image]:
    """From blue (265 K) through red to yellow (335 K)."""
    warm = (render("thermal", events) / 100.0 - 265) / 70
    colours = np.stack([warm * 510, warm * 510 - 255, 200 - np.abs(warm - 0.25) * 500], -1)
    return [_image(values) for values in colours]


def _spectrograms(events: Events) -> list[Image]:
    """Low tones below; bright is loud."""
    frames = np.lib.stride_tricks.sliding_window_view(render("audio", events) / 32768.0, 512, axis=1)[:, ::184]
    power = np.log10(np.abs(np.fft.rfft(frames * np.hanning(512), axis=2))[:, :, :256:2] + 1e-4)
    return [_image((values.T[::-1] + 3) * 60) for values in power]


def _curves(events: Events) -> list[Image]:
    """Acceleration x y z, then rotation x y z."""
    from PIL import Image, ImageDraw

    drawn = []
    for window in render("imu", events):
        image = Image.new("RGB", (_CELL - 4, _CELL - 4), (24, 24, 24))
        pen = ImageDraw.Draw(image)
        for k, colour in enumerate(_CURVES):
            middle = 9.81 if k == 2 else 0.0
            y = 12 + 21 * k - 0.45 * np.clip(window[:, k] - middle, -25, 25)
            pen.line(list(zip(np.linspace(0, _CELL - 5, len(y)).tolist(), y.tolist())), fill=colour, width=1)
        drawn.append(image)
    return drawn

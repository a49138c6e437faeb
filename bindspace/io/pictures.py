"""Pictures and maps as arrays: decode, cut, resample, vary. For plugins whose samples are (H, W) or (H, W, C).

Imports numpy and Pillow: import it inside the methods that need it. Geometry is drawn from an event's seed alone, in
fractions of the picture, so that what one sensor saw is cut like what another sensor saw of the same event.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bindspace.contract import BadSample, UserError, unknown

SHIFT = 0.05  # augment=weak: largest shift, as a share of the side
AREA = (0.5, 1.0)  # augment=strong: share of the area that is kept
GREY_ENOUGH = 4  # channels of a grey picture that was saved in colour differ by at most this, through JPEG
ASPECT = 4 / 3  # augment=strong: at most this wide or this tall


# --- decoding -------------------------------------------------------------------------------------------------------


def content(source: Path | bytes) -> bytes:
    """The bytes of a file. Raises `BadSample` if there are none."""
    if isinstance(source, Path) and not source.is_file():
        raise BadSample(f"expected a file, there is none at {source}: check the path")
    data = source.read_bytes() if isinstance(source, Path) else bytes(source)
    if not data:
        raise BadSample("expected a picture, got 0 bytes: copy or write the file again")
    return data


def open_picture(source: Path | bytes) -> tuple[Image.Image, int]:
    """Decodes a picture of any format that Pillow reads: in its own mode, with the stored bits per channel.

    Raises `BadSample`. The bits are returned separately because Pillow silently converts 16-bit colour to 8 bits.
    """
    data = content(source)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture = Image.open(io.BytesIO(data))
            picture.load()
        except Image.UnidentifiedImageError as error:
            raise BadSample(f"expected a picture, got {len(data)} bytes that begin with {data[:8]!r}") from error
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise BadSample(
                f"expected at most {Image.MAX_IMAGE_PIXELS} pixels, got a larger picture: shrink it"
            ) from error
        except Exception as error:  # Pillow's decoders raise various errors for damaged files
            raise BadSample(f"expected a whole picture, got a damaged or truncated file ({error})") from error
    if picture.format == "PNG":
        return picture, data[24]
    stored = picture.tag_v2.get(258, (1,)) if picture.format == "TIFF" else ()  # type: ignore[attr-defined]  # 258: bits
    return picture, max(stored, default=mode_bits(picture))


def mode_bits(picture: Image.Image) -> int:
    """Bits per channel of a picture in memory."""
    return {"I": 32, "F": 32, "1": 1}.get(picture.mode, 16 if picture.mode.startswith("I;16") else 8)


def read_map(source: Any) -> NDArray[Any]:
    """Measured values (H, W) as stored, from a 1-channel PNG or TIFF, an NPY file, or an array. Raises `BadSample`."""
    if isinstance(source, (Path, bytes)):
        data = content(source)
        values = _npy(data) if data.startswith(b"\x93NUMPY") else _channel(open_picture(data)[0])
    else:
        values = np.asarray(source)
    if values.ndim != 2 or values.size == 0:
        raise BadSample(f"expected one value per pixel (H, W), got an array of shape {values.shape}")
    if values.dtype.kind not in "uif":
        raise BadSample(f"expected integers or floats, got {values.dtype}")
    return values


def read_grey(source: Any) -> NDArray[Any]:
    """Like `read_map`; also accepts a colour picture with (almost) equal channels (8 bits): grey saved as RGB."""
    if not isinstance(source, (Path, bytes)) or content(source).startswith(b"\x93NUMPY"):
        return read_map(source)
    picture, _ = open_picture(source)
    if picture.mode != "RGB":
        return _channel(picture)
    if int(np.ptp(np.asarray(picture), axis=2).max()) > GREY_ENOUGH:
        raise BadSample("expected a grey picture, got colours: a palette is not a measurement, save the map itself")
    return np.asarray(picture.convert("L"))


def _npy(data: bytes) -> NDArray[Any]:
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise BadSample(
            f"expected a whole NPY array of numbers, got a damaged file ({error}): write it again"
        ) from error


def _channel(picture: Image.Image) -> NDArray[Any]:
    if len(picture.getbands()) > 1 or picture.mode in ("P", "1"):
        raise BadSample(
            f"expected one measured value per pixel, got a picture in {picture.mode}: colours are not measurements"
        )
    return np.asarray(picture)


def cut(array: NDArray[Any], xywh: Sequence[float] | None) -> NDArray[Any]:
    """The part of (H, W[, C]) within (x, y, width, height) pixels, clipped to the picture (W3C media fragments)."""
    if xywh is None:
        return array
    x, y, width, height = (round(value) for value in xywh)
    part = array[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    if part.size == 0:
        size = f"{array.shape[1]} x {array.shape[0]}"
        raise BadSample(f"expected #xywh to name a part of the picture, got {x},{y},{width},{height} of {size} pixels")
    return np.ascontiguousarray(part)


# --- geometry and resampling ----------------------------------------------------------------------------------------


def uniforms(seeds: Sequence[int], count: int, stream: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), (len(seeds), count): a pure function of seed and stream (SplitMix64, Steele et al. 2014)."""
    start = np.array([int(seed) & 0xFFFFFFFFFFFFFFFF for seed in seeds], np.uint64).reshape(-1, 1)
    steps = np.arange(1, count + 1, dtype=np.uint64) + np.array([stream << 20], np.uint64)
    x = start + steps * np.array([0x9E3779B97F4A7C15], np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.array([shift], np.uint64))) * np.array([factor], np.uint64)
    x ^= x >> np.array([31], np.uint64)
    return (x >> np.array([11], np.uint64)).astype(np.float64) * 2.0**-53


def views(seeds: Sequence[int] | None, augment: str, count: int) -> NDArray[np.float64]:
    """The crop of each picture: (count, 4) left, top, width, height in fractions of its central square.

    `weak`: all of it, shifted by up to 5 %; `strong`: a half to all of its area, up to 4:3. No picture is mirrored:
    left and right may mean something between sensors. Without seeds, or for `none`: the central square itself.
    """
    if augment not in ("none", "weak", "strong"):
        raise UserError(unknown("augment", augment, ["none", "weak", "strong"]))
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (count, 1))
    if seeds is None or augment == "none":
        return whole
    u = uniforms(seeds, 4, stream=0)
    if augment == "weak":
        whole[:, :2] = (2 * u[:, :2] - 1) * SHIFT
        return whole
    area = AREA[0] + (AREA[1] - AREA[0]) * u[:, 2]
    aspect = ASPECT ** (2 * u[:, 3] - 1)
    size = np.stack([np.sqrt(area * aspect), np.sqrt(area / aspect)], axis=1).clip(max=1)
    return np.concatenate([u[:, :2] * (1 - size), size], axis=1)


def resample(maps: Sequence[NDArray[Any]], boxes: NDArray[np.float64], side: int, *, smooth: bool) -> NDArray[Any]:
    """The content of each box of `views`, as (n, side, side[, C]) in the same dtype.

    A box of exactly `side` pixels is copied, not interpolated; beyond the picture its edge pixels are repeated.
    `smooth` averages neighbours (uint8 (H, W, 3) or float32 (H, W)); otherwise the nearest pixel is taken, as for
    values that must not be mixed.
    """
    shapes = np.array([map_.shape[:2] for map_ in maps])
    square = shapes.min(axis=1, keepdims=True)
    corners = np.concatenate([(shapes[:, ::-1] - square) / 2, np.zeros_like(shapes)], axis=1)
    pixels = boxes * square + corners  # left, top, width, height
    copied = (pixels[:, 2:] == side).all(axis=1) | (not smooth)
    columns, rows = (_nearest(pixels[:, [i, i + 2]], shapes[:, 1 - i, None], side) for i in (0, 1))
    out = np.empty((len(maps), side, side, *maps[0].shape[2:]), maps[0].dtype)
    for i, map_ in enumerate(maps):
        if copied[i]:
            out[i] = map_.take(rows[i], axis=0).take(columns[i], axis=1)
        else:
            out[i] = _smooth(map_, pixels[i], side)
    return out


def _nearest(spans: NDArray[np.float64], limits: NDArray[np.int_], side: int) -> NDArray[np.intp]:
    """Indices (n, side) of the pixels nearest to `side` even places in each span (start, length)."""
    places = spans[:, :1] + spans[:, 1:] * (np.arange(side) + 0.5) / side
    return np.floor(places).astype(np.intp).clip(0, limits - 1)


def _smooth(map_: NDArray[Any], box: NDArray[np.float64], side: int) -> NDArray[Any]:
    """One box (left, top, width, height in pixels), averaged; Pillow takes fractions of a pixel."""
    height, width = map_.shape[:2]
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    pad = int(np.ceil(max(0.0, -left, -top, right - width, bottom - height)))
    if pad:
        map_ = np.pad(map_, [(pad, pad), (pad, pad), (0, 0)][: map_.ndim], mode="edge")
    how = Image.Resampling.BICUBIC if map_.dtype == np.uint8 else Image.Resampling.BILINEAR
    return np.asarray(
        Image.fromarray(map_).resize((side, side), how, (left + pad, top + pad, right + pad, bottom + pad))
    )


# --- visualisation ---------------------------------------------------------------------------------------------------

# Dark blue, violet, red, orange, pale yellow: lightness increases monotonically, so it also works in grey.
COLOURS = np.array([[8, 10, 60], [104, 24, 126], [200, 54, 80], [247, 148, 40], [252, 250, 190]], np.float64)


def coloured(map_: NDArray[Any], low: float, high: float) -> Image.Image:
    """A map (H, W) as a colour picture: `low` dark blue, `high` pale yellow, NaN grey."""
    level = np.nan_to_num((map_ - low) / max(high - low, 1e-9)).clip(0, 1) * (len(COLOURS) - 1)
    picture = np.stack([np.interp(level, range(len(COLOURS)), COLOURS[:, i]) for i in range(3)], axis=-1)
    picture[np.isnan(map_)] = 128
    return Image.fromarray(picture.round().astype(np.uint8))


def example_field(rng: np.random.Generator, concept: int, side: int) -> NDArray[np.float64]:
    """A generated map (side, side) within 0..1: positions and sizes of two blobs encode the concept; `rng` nuisance."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    field = np.zeros((side, side))
    for turn, reach in ((concept * 0.1, 0.28), (concept * 0.3 + 0.37, 0.15)):
        angle = 2 * np.pi * turn
        centre_x, centre_y = reach * np.cos(angle) + rng.normal(0, 0.015), reach * np.sin(angle) + rng.normal(0, 0.015)
        radius = 0.08 + 0.008 * concept
        field += rng.uniform(0.8, 1.0) * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * radius**2))
    return (field + rng.normal(0, 0.01, field.shape)).clip(0, 1)


def png(array: NDArray[Any]) -> bytes:
    """The bytes of a PNG file of (H, W[, 3]) uint8 or (H, W) uint16."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()

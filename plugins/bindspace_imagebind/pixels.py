"""From decoded pictures and frames to normalised squares. Imports torch, numpy and Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bindspace import UserError
from bindspace.io.pictures import resample, views
from bindspace_imagebind.towers import PATCH

# Mean and deviation of red, green, blue in 0..1 over CLIP's training pictures (Radford et al. 2021, released code).
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def check_side(side: int) -> None:
    """Raises `UserError` unless the side is made of whole patches."""
    if side < PATCH or side % PATCH:
        raise UserError(f"image_size: expected a multiple of {PATCH}, got {side}: set 224, as the weights were made")


def check_equal(counts: Sequence[int]) -> None:
    """Raises `UserError` unless all samples have as many rows: the official code knows no others in one batch."""
    if len(set(counts)) > 1:
        raise UserError(
            f"reference=true takes pictures or videos, not both in one batch, got rows {sorted(set(counts))}: split it"
        )


def evaluation_views(sample: np.ndarray, side: int) -> Tensor:
    """A picture (H, W, 3) -> (1, 3, side, side); clips (C, 2, H, W, 3) -> (3 C, 3, 2, side, side), all normalised."""
    if sample.ndim == 3:
        return _normalised(torch.from_numpy(centre(sample, side)).permute(2, 0, 1)[None].float() / 255)
    return _normalised(_three_crops(torch.from_numpy(sample), side))


def centre(picture: np.ndarray, side: int) -> np.ndarray:
    """The middle square (side, side, 3) uint8 after resizing the short side, bicubic with Pillow's antialiasing."""
    height, width = picture.shape[:2]
    short = min(height, width)
    size = (
        side if width == short else int(side * width / short),
        side if height == short else int(side * height / short),
    )
    resized = np.asarray(
        Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC) if size != (width, height) else picture
    )
    left, top = (round((long - side) / 2) for long in size)
    return np.array(resized[top : top + side, left : left + side])  # a copy: tensors want to be writable


def _three_crops(clips: Tensor, side: int) -> Tensor:
    """Frames (C, 2, H, W, 3) uint8 -> (3 C, 3, 2, side, side) in 0..1: both ends and the middle of the long side."""
    frames = clips.permute(0, 1, 4, 2, 3).float() / 255
    height, width = frames.shape[-2:]
    short = min(height, width)
    size = tuple(side if edge == short else math.floor(edge / short * side) for edge in (height, width))
    frames = F.interpolate(frames.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
    frames = frames.unflatten(0, clips.shape[:2]).transpose(1, 2)
    crops = []
    for place in range(3):
        top, left = (math.ceil((long - side) / 2) * (place == 1) + (long - side) * (place == 2) for long in size)
        if height > width:
            left = math.ceil((size[1] - side) / 2)
        else:
            top = math.ceil((size[0] - side) / 2)
        crops.append(frames[..., top : top + side, left : left + side])
    return torch.stack(crops, dim=1).flatten(0, 1)


def training_views(samples: Sequence[np.ndarray], seeds: Sequence[int], augment: str, side: int) -> list[Tensor]:
    """One row for each sample, (1, 3, side, side) or (1, 3, 2, side, side): a view and a clip that its seed decides."""
    boxes = views(seeds, augment, len(samples))
    rows = []
    for sample, seed, box in zip(samples, seeds, boxes):
        clip = sample[None] if sample.ndim == 3 else sample[int(np.random.default_rng(seed).random() * len(sample))]
        square = resample(list(clip), np.repeat(box[None], len(clip), axis=0), side, smooth=True)
        pixels = torch.from_numpy(square).permute(3, 0, 1, 2)[None].float() / 255
        rows.append(_normalised(pixels[:, :, 0] if sample.ndim == 3 else pixels))
    return rows


def _normalised(pixels: Tensor) -> Tensor:
    """(R, 3, ...) in 0..1, in place."""
    shape = (1, 3, *[1] * (pixels.ndim - 2))
    return pixels.sub_(torch.tensor(MEAN).view(shape)).div_(torch.tensor(STD).view(shape))

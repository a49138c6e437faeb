"""Clips of a sound and their log-mel spectrograms, as Kaldi computes them. Imports torch.

Constants are those of AST (Gong et al. 2021), from which ImageBind took its audio: mean and deviation over AudioSet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bindspace.io.sequences import windows
from bindspace_imagebind.video import clip_starts

RATE = 16000  # Hz

CLIP = 2 * RATE  # samples
WINDOW, HOP, FFT = 400, 160, 512  # samples a frame, from frame to frame, of the transform
BANDS, FRAMES = 128, 204  # a clip of two seconds has 198 frames; the rest is filled up
LOWEST = 20.0  # Hz
PRE_EMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)
MEAN, STD = -4.268, 9.138
MASKED = 12  # bands at most


def clips(sample: NDArray[np.float32], count: int, seed: int | None) -> list[NDArray[np.float32]]:
    """First channels (n <= 32000,) of clips of (channels, n), each without the mean over its channels and samples.

    Evaluation: `count` clips evenly spread, or one of a sound that is no longer than a clip. Training (a seed): one.
    """
    total = sample.shape[1]
    starts = windows(total, CLIP, 1, seed) if seed is not None else sorted(set(_starts(total, count)))
    return [part[0] - part.mean() for part in (sample[:, start : start + CLIP] for start in starts)]


def overlapping_clips(sample: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
    """The same with the official code's slip: means are subtracted in place, so a clip sees what earlier ones left."""
    sample, found = sample.copy(), []
    for start in _starts(sample.shape[1], count):
        part = sample[:, start : start + CLIP]
        part -= part.mean()
        found.append(part[0].copy())
    return found


def _starts(total: int, count: int) -> list[int]:
    return [math.floor(start * RATE) for start in clip_starts(total / RATE, CLIP / RATE, count)]


def spectrograms(waves: Sequence[NDArray[np.float32]]) -> Tensor:
    """Waveforms of at most 32000 samples -> (R, 1, 128, 204) normalised; behind the end there is 0 before that."""
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.stack([F.pad(torch.from_numpy(wave), (0, CLIP - len(wave))) for wave in waves])
    return ((log_mel(padded, lengths) - MEAN) / STD)[:, None]


def log_mel(waves: Tensor, lengths: Tensor) -> Tensor:
    """Natural logarithms of mel power (R, 128, 204) of waveforms (R, 32000), in their precision; 0 behind the end."""
    frames = waves.unfold(1, WINDOW, HOP)
    frames = frames - frames.mean(2, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)  # the first sample is its own predecessor
    shaped = (frames - PRE_EMPHASIS * before) * _hann().to(waves.dtype)
    spectrum = torch.view_as_real(torch.fft.rfft(shaped, n=FFT)).square().sum(-1)
    mel = (
        (spectrum[..., : FFT // 2] @ filter_bank().to(waves.dtype)).clamp(min=FLOOR).log()
    )  # no filter reaches the Nyquist bin
    whole = torch.arange(mel.shape[1]) <= (lengths[:, None] - WINDOW) // HOP
    return F.pad((mel * whole[..., None]).transpose(1, 2), (0, FRAMES - mel.shape[1]))


@cache
def _hann() -> Tensor:
    return torch.hann_window(WINDOW, periodic=False)


@cache
def filter_bank() -> Tensor:
    """Triangles (256, 128) from bins to bands, equally wide and linear in mel, from 20 Hz to the Nyquist frequency."""
    edges = torch.linspace(_mel(LOWEST), _mel(RATE / 2), BANDS + 2, dtype=torch.float64)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    bins = torch.tensor([_mel(RATE / FFT * i) for i in range(FFT // 2)], dtype=torch.float64)[:, None]
    rise, fall = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return torch.minimum(rise, fall).clamp(min=0).float()


def _mel(hertz: float) -> float:
    return 1127 * math.log(1 + hertz / 700)


def mask_bands(inputs: Tensor, seeds: Sequence[int]) -> None:
    """Puts 0, about the mean, in place of up to 12 neighbouring bands of each row (Park et al. 2019), in place."""
    for row, seed in zip(inputs, seeds):
        width, place = np.random.default_rng([seed, 0]).random(2)
        first = int(place * (BANDS - int(width * (MASKED + 1)) + 1))
        row[:, first : first + int(width * (MASKED + 1))] = 0

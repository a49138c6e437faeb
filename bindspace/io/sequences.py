"""Trunks and tools for sequences, e.g. over time or words. Import it inside `prepare()` and `encoder()`.

Shapes: B rows, N positions (steps in time, words), D or C channels, H height (frequency bands; 1 for plain signals).
Rows of different lengths share a batch: padding beyond a row's length never affects its vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace.contract import UserError, unknown


def windows(total: int, length: int, clips: int, seed: int | None) -> list[int]:
    """Start positions of clips of `length` in a signal of `total` steps.

    Training (a seed): one clip, at a fraction of the signal that depends on the seed alone, so that all signals of an
    event are cut alike. Evaluation (None): up to `clips`, evenly spread from start to end.
    """
    spare = total - length
    if spare <= 0:
        return [0]
    if seed is not None:
        return [int(np.random.default_rng(seed).random() * (spare + 1))]
    count = min(clips, -(-total // length))
    return [spare // 2] if count == 1 else [round(spare * i / (count - 1)) for i in range(count)]


def check_augment(augment: str) -> None:
    """Raises `UserError` unless `augment` is `none`, `weak` or `strong`."""
    if augment not in ("none", "weak", "strong"):
        raise UserError(unknown("augment", augment, ["none", "weak", "strong"]))


def cut_clips(
    samples: Sequence[np.ndarray], length: int, clips: int, seeds: Sequence[int] | None
) -> tuple[list[np.ndarray], dict[str, Tensor]]:
    """Clips of at most `length` steps of signals (n_i, ...), by `windows`; with `owner` if a signal gave several."""
    rows, owner = [], []
    for index, sample in enumerate(samples):
        for start in windows(len(sample), length, clips, None if seeds is None else seeds[index]):
            rows.append(sample[start : start + length])
            owner.append(index)
    return rows, {"owner": torch.tensor(owner)} if len(rows) > len(samples) else {}


def pad_rows(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays (n_i, ...) as one tensor (R, max n, ...) with zeros behind each row, and the lengths (R,) int64."""
    lengths = [len(row) for row in rows]
    padded = np.zeros((len(rows), max(lengths), *rows[0].shape[1:]), rows[0].dtype)
    for target, row in zip(padded, rows):
        target[: len(row)] = row
    return torch.from_numpy(padded), torch.tensor(lengths)


def is_real(lengths: Tensor, total: int) -> Tensor:
    """The mask (B, total): True where a position lies within its row's length."""
    return torch.arange(total, device=lengths.device) < lengths[:, None]


def masked_mean(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """The mean (B, D) over the positions where the mask is True."""
    weight_BN1 = mask_BN.unsqueeze(-1).to(x_BND.dtype)
    return (x_BND * weight_BN1).sum(1) / weight_BN1.sum(1).clamp(min=1)


def segment_mean(x_BCHN: Tensor, lengths: Tensor, segments: int) -> Tensor:
    """Cuts each row's own length into equal segments and averages each: (B, C, H, N) -> (B, C, H, segments).

    A position on a border counts for both segments by its share, so a row shorter than `segments` is well defined.
    """
    edges_BS = lengths[:, None] * torch.linspace(0, 1, segments + 1, device=lengths.device)
    start_BS1, stop_BS1 = edges_BS[:, :-1, None], edges_BS[:, 1:, None]
    position_N = torch.arange(x_BCHN.shape[-1], device=lengths.device)
    share_BSN = (torch.minimum(stop_BS1, position_N + 1) - torch.maximum(start_BS1, position_N)).clamp(min=0)
    weight_BNS = (share_BSN / (stop_BS1 - start_BS1)).transpose(1, 2).to(x_BCHN.dtype)
    B, C, H, N = x_BCHN.shape
    return torch.bmm(x_BCHN.reshape(B, C * H, N), weight_BNS).view(B, C, H, segments)


class Block(nn.Module):
    """A pre-norm transformer block whose two residual branches are initialised to zero: it starts as the identity."""

    def __init__(self, width: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))
        for last in (self.out, self.mlp[2]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D); positions where the mask is False are not attended to."""
        x_BND = x_BND + self.out(self._attend(self.norm1(x_BND), mask_BN))
        return x_BND + self.mlp(self.norm2(x_BND))

    def _attend(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        B, N, D = x_BND.shape
        q, k, v = self.qkv(x_BND).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        return (
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask_BN[:, None, None]).transpose(1, 2).reshape(B, N, D)
        )


class Transformer(nn.Module):
    """`layers` blocks over at most `length` learned positions.

    It starts as x + positions, so a mean over positions is order-invariant at first. Positions start small but not at
    zero, so that order is learned faster.
    """

    def __init__(self, width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UserError(f"a transformer splits its width among its heads, got width {width} for {heads} heads")
        self.positions = nn.Parameter(0.3 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.positions[: x_BND.shape[1]]
        for block in self.blocks:
            x_BND = block(x_BND, mask_BN)
        return x_BND


class _ConvBlock(nn.Module):
    """x + conv(gelu(conv(norm(x)))), every convolution seeing zeros beyond a row's length."""

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.norm = nn.LayerNorm(channels)  # position by position: statistics over time would see the padding
        self.first = nn.Conv2d(channels, channels, kernel, padding=padding)
        self.second = nn.Conv2d(channels, channels, kernel, padding=padding)

    def forward(self, x_BCHN: Tensor, real_B11N: Tensor) -> Tensor:
        normed = self.norm(x_BCHN.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        inner = F.gelu(self.first(normed * real_B11N))
        return x_BCHN + self.second(inner * real_B11N)


class ConvOverTime(nn.Module):
    """A small CNN over (B, channels_in, H, N) whose rows may have any length: the same vector whatever the padding.

    A patch stem, then per further stage a stride of 2 and `depth` residual blocks. The last map is pooled to `cells`:
    bands of height by segments of the row's own time, so the features keep positions; then one
    layer. A `kernel` of height 1 makes it a 1-D CNN.
    """

    def __init__(
        self,
        channels_in: int,
        widths: Sequence[int],
        stem: tuple[int, int],
        width: int,
        *,
        kernel: tuple[int, int] = (3, 3),
        cells: tuple[int, int] = (4, 4),
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.cells = cells
        self.step = stem[1]
        self.stem = nn.Conv2d(channels_in, widths[0], stem, stride=stem)
        stride = (min(2, kernel[0]), min(2, kernel[1]))
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.downs = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride=stride, padding=padding) for before, after in pairwise(widths)
        )
        self.depth = depth
        self.blocks = nn.ModuleList(_ConvBlock(channels, kernel) for channels in widths[1:] for _ in range(depth))
        flat = widths[-1] * cells[0] * cells[1]
        self.last = nn.Sequential(nn.LayerNorm(flat), nn.Linear(flat, width), nn.GELU())

    def forward(self, x_BCHN: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, C, H, N) and lengths (B,), all of N if None -> (B, width)."""
        B, _, _, N = x_BCHN.shape
        lengths = torch.full((B,), N, device=x_BCHN.device) if lengths is None else lengths
        x_BCHN = F.pad(x_BCHN, (0, -N % self.step)) * _real(lengths, N + -N % self.step)
        x_BCHN = F.gelu(self.stem(x_BCHN.contiguous(memory_format=torch.channels_last)))
        lengths = -(-lengths // self.step)
        for stage, down in enumerate(self.downs):
            x_BCHN = down(x_BCHN * _real(lengths, x_BCHN.shape[-1]))
            lengths = -(-lengths // 2)
            real_B11N = _real(lengths, x_BCHN.shape[-1])
            for block in self.blocks[stage * self.depth : (stage + 1) * self.depth]:
                x_BCHN = block(x_BCHN, real_B11N)
        pooled = segment_mean(F.adaptive_avg_pool2d(x_BCHN, (self.cells[0], x_BCHN.shape[-1])), lengths, self.cells[1])
        return self.last(pooled.flatten(1))


def _real(lengths: Tensor, total: int) -> Tensor:
    return is_real(lengths, total)[:, None, None]

"""The six towers of ImageBind (Girdhar et al. 2023), each from a prepared batch to a vector of the joint space.

Shapes: B rows, S clips of a sample, N tokens, D channels of the trunk, H heads, d channels of a head, T frames.

The arithmetic is that of the official model without unused work: in the last block only the token that becomes the
vector passes through the MLP, a still picture passes through one kernel where the official code doubles the picture,
and texts end at the last end token of their batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace import UserError

EPS = 1e-6  # of every LayerNorm but those of stems, which have torch's 1e-5
MAX_SCALE = 100.0
WORDS, LENGTH = 49408, 77  # of text: vocabulary, tokens
PATCH, FRAMES, GRID = 14, 2, 16  # of image: pixels, frames that one kernel covers, patches a side at 224 pixels
STEPS, WINDOWS = 8, 250  # of imu: steps a window, windows

Pick = Callable[[Tensor], Tensor]


class Attention(nn.Module):
    """Multi-head attention; `extra`: one learned key and value more, which are not projected."""

    def __init__(self, channels: int, heads: int, extra: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.extra_key = nn.Parameter(torch.empty(1, 1, channels)) if extra else None
        self.extra_value = nn.Parameter(torch.empty(1, 1, channels)) if extra else None

    def forward(self, x_BND: Tensor, pick: Pick | None, mask: Tensor | None, causal: bool) -> Tensor:
        """(B, N, D) -> (B, N, D), or (B, 1, D) of the row that `pick` takes. `mask`: which keys it may see."""
        B, N, D = x_BND.shape
        q, k, v = self.qkv(x_BND).view(B, N, 3, self.heads, D // self.heads).unbind(2)
        if self.extra_key is not None and self.extra_value is not None:
            k = torch.cat([k, self.extra_key.view(1, 1, *k.shape[2:]).expand(B, -1, -1, -1)], dim=1)
            v = torch.cat([v, self.extra_value.view(1, 1, *v.shape[2:]).expand(B, -1, -1, -1)], dim=1)
        q_BHNd, k_BHNd, v_BHNd = (part.transpose(1, 2) for part in (pick(q) if pick else q, k, v))
        y_BHNd = F.scaled_dot_product_attention(q_BHNd, k_BHNd, v_BHNd, attn_mask=mask, is_causal=causal)
        return self.out(y_BHNd.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm transformer block with stochastic depth (Huang et al. 2016) of probability `drop`.

    `by_position` drops positions for all rows at once, as the official code does; otherwise rows are dropped.
    """

    def __init__(self, channels: int, heads: int, extra: bool, drop: float, by_position: bool) -> None:
        super().__init__()
        self.drop, self.by_position = drop, by_position
        self.norm1 = nn.LayerNorm(channels, EPS)
        self.attention = Attention(channels, heads, extra)
        self.norm2 = nn.LayerNorm(channels, EPS)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(
        self, x_BND: Tensor, pick: Pick | None = None, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """(B, N, D) -> (B, N, D), or (B, 1, D) if `pick` takes one row."""
        attended = self.attention(self.norm1(x_BND), pick, mask, causal)
        x_BND = (pick(x_BND) if pick else x_BND) + self._dropped(attended)
        return x_BND + self._dropped(self.fc2(F.gelu(self.fc1(self.norm2(x_BND)))))

    def _dropped(self, x_BND: Tensor) -> Tensor:
        if not self.training or self.drop == 0:
            return x_BND
        B, N, _ = x_BND.shape
        kept = x_BND.new_empty((1, N, 1) if self.by_position else (B, 1, 1)).bernoulli_(1 - self.drop)
        return x_BND * kept / (1 - self.drop)


@dataclass(frozen=True)
class Shape:
    """The sizes of a tower, and the differences in arithmetic between modalities."""

    channels: int
    layers: int
    heads: int
    width: int  # of the joint space
    extra: bool = False  # a learned key and value more in each block
    drop_path: float = 0.0  # of the last block; it rises from 0 in equal steps
    dropout: float = 0.0  # before the projection
    scale: float | None = None  # factor of the official code on unit vectors
    reference: bool = False


class Trunk(nn.Module):
    """Base of the towers: blocks, the last LayerNorm, the projection to `width`, and the official scale.

    `log_scale` is no part of a vector: it is the logarithm of the factor that the official code multiplies onto unit
    vectors, kept so that an exported file has it again, and used with `reference` (see README.md). Image has none.
    """

    position_std: float | None = None  # of a fresh table; None: one over the root of its channels

    def __init__(self, shape: Shape, tokens: int) -> None:
        super().__init__()
        channels, layers, heads = shape.channels, shape.layers, shape.heads
        if layers < 1 or heads < 1 or channels % heads:
            raise UserError(
                f"a transformer needs blocks and splits its channels among heads, got channels={channels},"
                f" layers={layers}, heads={heads}: set what the weights were made with"
            )
        self.reference = shape.reference
        self.positions = nn.Parameter(torch.empty(1, tokens, channels))
        rates = [shape.drop_path * i / max(layers - 1, 1) for i in range(layers)]
        self.blocks = nn.ModuleList(Block(channels, heads, shape.extra, rate, shape.reference) for rate in rates)
        self.norm_out = nn.LayerNorm(channels, EPS)
        self.dropout = nn.Dropout(shape.dropout)
        self.project = nn.Linear(channels, shape.width, bias=False)
        if shape.scale is not None:
            self.register_buffer("log_scale", torch.tensor(math.log(shape.scale)))

    def draw(self) -> None:
        """Random weights, initialised like the official model; anything not listed here is initialised by torch.

        Xavier for every matrix of the blocks, biases 0 (Glorot & Bengio 2010). Apart from building, since on the meta
        device drawing is for nothing and costs seconds of imports.
        """
        for block in self.blocks:
            assert isinstance(block, Block)
            for linear in (block.attention.qkv, block.attention.out, block.fc1, block.fc2):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)
            for extra in (block.attention.extra_key, block.attention.extra_value):
                if extra is not None:
                    nn.init.xavier_normal_(extra)
        nn.init.normal_(self.positions, std=self.position_std or self.positions.shape[-1] ** -0.5)
        if isinstance(class_token := getattr(self, "class_token", None), nn.Parameter):
            nn.init.normal_(class_token, std=class_token.shape[-1] ** -0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Rows as `prepare` gives them -> (R, width), before normalisation.

        With `reference`, what the official model returns: unit vectors times the scale, and of inputs with clips
        (B, S, ...) their mean over the clips, which is not normalised again.
        """
        if not self.reference:
            return self.embed(inputs)
        clips = inputs.ndim > 4
        z_BD = F.normalize(self.embed(inputs.flatten(0, 1) if clips else inputs), dim=-1)
        if (log_scale := getattr(self, "log_scale", None)) is not None:
            z_BD = z_BD * log_scale.exp().clamp(max=MAX_SCALE)
        return z_BD.unflatten(0, inputs.shape[:2]).mean(1) if clips else z_BD

    def embed(self, inputs: Tensor) -> Tensor:
        """Rows without a dimension of clips -> (R, width), before normalisation."""
        x_BND = self._through(self.stem_tokens(inputs), self.blocks[:-1])
        x_BD = self.blocks[-1](x_BND, pick=_first)[:, 0]
        return self.project(self.dropout(self.norm_out(x_BD)))

    def tokens(self, inputs: Tensor) -> Tensor:
        """Every token where `embed` takes one: (R, N, width), the class token first; text has none."""
        return self.project(self.dropout(self.norm_out(self._through(self.stem_tokens(inputs), self.blocks))))

    def stem_tokens(self, inputs: Tensor) -> Tensor:
        """The rows as tokens (R, N, D) with positions."""
        raise NotImplementedError

    def _through(self, x_BND: Tensor, blocks: nn.ModuleList) -> Tensor:
        for block in blocks:
            x_BND = block(x_BND)
        return x_BND


class GridTower(Trunk):
    """Audio, depth and thermal: patches of a map (R, 1, height, width) and a class token.

    `grid`: patches down and across; with `stride` below 16 they overlap, and what remains at the end is left out.
    """

    def __init__(self, shape: Shape, grid: tuple[int, int], stride: int) -> None:
        super().__init__(shape, 1 + grid[0] * grid[1])
        channels = shape.channels
        self.grid, self.stride = grid, stride
        self.stem = nn.Conv2d(1, channels, 16, stride, bias=False)
        self.stem_norm = nn.LayerNorm(channels)
        self.class_token = nn.Parameter(torch.empty(1, 1, channels))

    def stem_tokens(self, inputs: Tensor) -> Tensor:
        """(R, 1, height, width) -> (R, 1 + patches, D): the class token, then patches row by row."""
        grid = tuple((side - 16) // self.stride + 1 for side in inputs.shape[-2:])
        if grid != self.grid:
            raise ValueError(f"expected {self.grid} patches, got {grid} of an input {tuple(inputs.shape)}")
        x_BND = self.stem(inputs.to(self.stem.weight.dtype)).flatten(2).transpose(1, 2)
        return _with_class(self.stem_norm(x_BND), self.class_token) + self.positions


class ImageTower(Trunk):
    """Image: patches of 14 pixels over two frames. A still picture is two equal frames."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, 1 + GRID * GRID)
        channels = shape.channels
        self.stem = nn.Conv3d(3, channels, (FRAMES, PATCH, PATCH), (FRAMES, PATCH, PATCH), bias=False)
        self.class_token = nn.Parameter(torch.empty(1, 1, channels))
        self.norm_in = nn.LayerNorm(channels, EPS)

    def stem_tokens(self, inputs: Tensor) -> Tensor:
        """(R, 3, h, w) or two frames each, (R, 3, 2, h, w) -> (R, 1 + patches, D); h = w, a multiple of 14."""
        weight = self.stem.weight
        if inputs.ndim == 5:  # channels and frames side by side: one flat convolution
            inputs, weight = inputs.flatten(1, 2), weight.flatten(1, 2)
        else:
            weight = weight.sum(2)
        if inputs.shape[1] != weight.shape[1] or inputs.shape[2] != inputs.shape[3] or inputs.shape[3] % PATCH:
            raise ValueError(f"expected squares whose side is a multiple of {PATCH} pixels, got {tuple(inputs.shape)}")
        x_BDhw = F.conv2d(inputs.to(weight.dtype), weight, stride=PATCH)
        x_BND = _with_class(x_BDhw.flatten(2).transpose(1, 2), self.class_token)
        return self.norm_in(x_BND + self._positions(x_BDhw.shape[-1]))

    def _positions(self, side: int) -> Tensor:
        """The learned table, resampled to `side` x `side` patches."""
        if side == GRID:
            return self.positions
        class_11D, grid_1ND = self.positions[:, :1], self.positions[:, 1:]
        grid_1ND = grid_1ND.to(torch.promote_types(grid_1ND.dtype, torch.float32))
        grid_1Dhw = grid_1ND.transpose(1, 2).unflatten(2, (GRID, GRID))
        # by factor, not by size: the two differ in where bicubic interpolation looks
        grid_1Dhw = F.interpolate(grid_1Dhw, scale_factor=side / GRID, mode="bicubic", align_corners=False)
        return torch.cat([class_11D, grid_1Dhw.flatten(2).transpose(1, 2).to(self.positions.dtype)], dim=1)


class ImuTower(Trunk):
    """IMU: 250 windows of 8 steps; a window is flattened channel by channel."""

    position_std = 0.01

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, 1 + WINDOWS)
        channels = shape.channels
        self.stem = nn.Linear(6 * STEPS, channels, bias=False)
        self.stem_norm = nn.LayerNorm(channels)
        self.class_token = nn.Parameter(torch.empty(1, 1, channels))

    def stem_tokens(self, inputs: Tensor) -> Tensor:
        """(R, 6, 2000) -> (R, 251, D)."""
        if inputs.shape[1:] != (6, STEPS * WINDOWS):
            raise ValueError(f"expected rows of (6, {STEPS * WINDOWS}), got {tuple(inputs.shape)}")
        windows = inputs.to(self.stem.weight.dtype).unflatten(2, (WINDOWS, STEPS)).transpose(1, 2).flatten(2)
        return _with_class(self.stem_norm(self.stem(windows)), self.class_token) + self.positions


class TextTower(Trunk):
    """Text: a causal transformer; the vector is that of the first end token."""

    position_std = 0.01

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, LENGTH)
        self.embedding = nn.Parameter(torch.empty(WORDS, shape.channels))

    def draw(self) -> None:
        """As the other towers, and small embeddings."""
        super().draw()
        nn.init.normal_(self.embedding, std=0.02)

    def stem_tokens(self, inputs: Tensor) -> Tensor:
        """Ids (R, at most 77) -> (R, N, D)."""
        return F.embedding(inputs, self.embedding) + self.positions[:, : inputs.shape[1]]

    def embed(self, inputs: Tensor) -> Tensor:
        """Ids (R, 77) int64 -> (R, width). Later tokens cannot change an earlier one: what follows is cut off."""
        end_B = inputs.argmax(dim=1)  # the end token has the highest id
        if not torch.compiler.is_compiling():  # where shapes have to be known beforehand, the zeros stay
            inputs = inputs[:, : int(end_B.max()) + 1]
        seen_B11N = (torch.arange(inputs.shape[1], device=inputs.device) <= end_B[:, None])[:, None, None]
        rows = torch.arange(len(inputs), device=inputs.device)
        x_BND = self._through(self.stem_tokens(inputs), self.blocks[:-1])
        x_BD = self.blocks[-1](x_BND, pick=lambda part: part[rows, end_B][:, None], mask=seen_B11N)[:, 0]
        return self.project(self.dropout(self.norm_out(x_BD)))

    def _through(self, x_BND: Tensor, blocks: nn.ModuleList) -> Tensor:
        for block in blocks:
            x_BND = block(x_BND, causal=True)
        return x_BND


def _first(x_BND: Tensor) -> Tensor:
    return x_BND[:, :1]


def _with_class(x_BND: Tensor, class_token: Tensor) -> Tensor:
    return torch.cat([class_token.expand(len(x_BND), -1, -1), x_BND], dim=1)

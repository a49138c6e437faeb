"""The sigmoid loss over all pairings of a batch, without its matrix of similarities, over one process or many.

Shapes: B rows (of this rank), D dims. `a_BD[i]` and `b_BD[i]` are the two sides of one event.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.losses.contrastive import PAYS, Gradients, Task, TiledLoss, keep
from bindspace.losses.plain import siglip_plain
from bindspace.losses.products import Products
from bindspace.losses.tiles import FLOAT32, PLAIN, Block, dot_rows, dots
from bindspace.losses.world import Ranks


def siglip(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    bias: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    products: str = "float32",
    ranks: Ranks | None = None,
    tiled: bool | None = None,
) -> Tensor:
    """The sum over all pairings of -log sigmoid(+-(scale * cosine + bias)), by the number of rows: a scalar, exact.

    Plus for a row and its own partner, minus for all others (Zhai et al. 2023, equation 1). It has gradients for rows,
    scale and bias. Everything else is as for `info_nce`.
    """
    if tiled is None:
        tiled = ranks is not None or products != "float32" or len(a_BD) >= PAYS
    if not tiled and (ranks is not None or products != "float32"):
        raise ValueError("expected tiled=True with ranks or bf16 products: the plain form has neither")
    if not tiled:
        return siglip_plain(a_BD, b_BD, logit_scale, bias, keys_a=keys_a, keys_b=keys_b)
    work = torch.float64 if a_BD.dtype == torch.float64 else torch.float32
    scale, bias = (torch.as_tensor(each, device=a_BD.device) for each in (logit_scale, bias))
    task = Task(keys_a, keys_b, products, ranks, torch.is_grad_enabled())
    loss: Tensor = _SigLIP.apply(a_BD.to(work), b_BD.to(work), scale, bias, task)
    return loss


class _SigLIP(TiledLoss):
    """The gradient of a pairing depends on no other, so one pass gives value and gradients: three products a tile."""

    @staticmethod
    def forward(ctx: Any, a_nD: Tensor, b_nD: Tensor, scale: Tensor, bias: Tensor, task: Task) -> Tensor:
        flags = tuple(task.grad and need for need in ctx.needs_input_grad[:4])
        sums = Gradients(a_nD, b_nD, task, task.needs(flags, a_nD.device))
        here, factor = task.here(a_nD), 1 / (len(a_nD) if task.ranks is None else sum(task.ranks.counts))
        sweep = _Negatives(float(scale), float(bias), Products(task.products, a_nD.device))
        cosine_n = dot_rows(a_nD, b_nD)
        own_n = float(scale) * cosine_n + float(bias)
        with sweep.products.ready():
            b_all = task.gather(b_nD)
            by_b = sums.everyone(sums.b, b_all)
            total = F.softplus(-own_n).sum() + sweep.run(
                Block(a_nD, b_all, here.start, task.same()), sums, sums.a, by_b
            )
            sums.add_everyone(sums.b, by_b)
        weight_n = -torch.sigmoid(-own_n)
        sums.add_own(a_nD, b_nD, weight_n, cosine_n)
        by_a, by_b = sums.scaled(float(scale), factor * task.world)
        by_scale, by_bias = sums.by_scale, sweep.by_bias + float(weight_n.sum())
        scalars = [
            torch.full_like(each, value * factor * task.world) if flag else None
            for each, value, flag in ((scale, by_scale, flags[2]), (bias, by_bias, flags[3]))
        ]
        keep(ctx, [by_a if flags[0] else None, by_b if flags[1] else None, *scalars, None])
        return (task.sum(total) * factor).to(a_nD.dtype)


class _Negatives:
    """Value and gradients of blocks of negatives, at one scale and bias."""

    def __init__(self, scale: float, bias: float, products: Products) -> None:
        self.scale, self.bias, self.products, self.by_bias = scale, bias, products, 0.0

    def run(self, block: Block, sums: Gradients, left_nD: Tensor | None, right_MD: Tensor | None) -> Tensor:
        """The sum of softplus(logit) over the block's negatives. Adds to the gradients given, by scale and by bias."""
        reach = block.reach(self.scale) + abs(self.bias)
        exact = block.left_nD.dtype == torch.float64 or not reach <= FLOAT32  # NaN too
        if sums.any and left_nD is None and right_MD is None:
            left_nD = torch.zeros_like(block.left_nD)  # the scale's gradient comes via it
        x, into = (block.left_nD, left_nD) if left_nD is not None else (block.right_MD, right_MD)
        before = 0.0 if into is None else dots(x, into)
        room, other = block.buffer(), block.buffer()
        total = torch.zeros((), dtype=torch.float64, device=room.device)
        for rows, columns in block.tiles():
            left, right = block.left_nD[rows], block.right_MD[columns]
            if exact:
                tile = self.scale * (left.double() @ right.double().T)
            else:
                tile = self.products.logits(left, right, self.scale, room[: len(left), : len(right)])
            tile.add_(self.bias)
            block.own_within(tile, rows, columns).fill_(-torch.inf)
            for equal in block.same:
                if len(equal.rows):
                    tile[equal.within(rows, columns)] = -torch.inf
            value, weight = _plain_range(tile, other) if reach <= PLAIN and not exact else _any_range(tile)
            total += value
            if into is not None:
                self.by_bias += float(weight.sum())
                weight = weight.to(room.dtype)
            if left_nD is not None:
                self.products.add(left_nD[rows], weight, right)
            if right_MD is not None:
                self.products.add(right_MD[columns], weight.T, left)
        sums.by_scale += 0.0 if into is None else dots(x, into) - before
        return total


def _plain_range(tile: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of softplus, and sigmoid in the place of the tile, from one exponential that cannot overflow."""
    tile.exp_()
    room = room[: tile.shape[0], : tile.shape[1]]
    value = torch.log1p(tile, out=room).sum().double()
    return value, tile.div_(torch.add(tile, 1, out=room))


def _any_range(tile: Tensor) -> tuple[Tensor, Tensor]:
    return F.softplus(tile).sum().double(), torch.sigmoid(tile)

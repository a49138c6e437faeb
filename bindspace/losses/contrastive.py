"""Symmetric InfoNCE over the rows of a batch, without its matrix of similarities, over one process or many.

Shapes: B rows (of this rank), D dims. `a_BD[i]` and `b_BD[i]` are the two sides of one event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bindspace.losses.plain import info_nce_plain
from bindspace.losses.products import Products
from bindspace.losses.tiles import Block, Equal, Queries, Sweep, dot_rows
from bindspace.losses.world import Ranks

PAYS = 1024  # rows; at 512 the plain form still took 0.8 of the tiled time: benchmarks/contrastive.py --sizes 512,1024


def info_nce(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    products: str = "float32",
    ranks: Ranks | None = None,
    tiled: bool | None = None,
) -> Tensor:
    """The mean of both directions' losses over the batch's own rows: a scalar, exact, with gradients for all three.

    Rows are unit vectors and the scale multiplies their cosines (van den Oord et al. 2018, equation 4; symmetric as in
    CLIP, Radford et al. 2021, figure 3; ImageBind, Girdhar et al. 2023, equation 1).

    `keys_a`, `keys_b` (B,), from `content_keys`: rows with the same content on either side are not counted as negatives
    of each other. `products`: `float32`, or `bf16` with sums in float32.

    `ranks`: the rows are this rank's share of one batch, and every rank calls. The value is the whole batch's, the same
    on all; gradients are such that DDP's mean over ranks is the gradient of one process with the joined batch.

    `tiled`: None chooses by the number of rows. Where it is tiled, gradients are computed in the forward pass, and
    there is no second derivative.
    """
    if tiled is None:
        tiled = ranks is not None or products != "float32" or len(a_BD) >= PAYS
    if not tiled and (ranks is not None or products != "float32"):
        raise ValueError("expected tiled=True with ranks or bf16 products: the plain form has neither")
    if not tiled:
        return info_nce_plain(a_BD, b_BD, logit_scale, keys_a=keys_a, keys_b=keys_b)
    work = torch.float64 if a_BD.dtype == torch.float64 else torch.float32
    scale = torch.as_tensor(logit_scale, device=a_BD.device)
    task = Task(keys_a, keys_b, products, ranks, torch.is_grad_enabled())
    loss: Tensor = _InfoNCE.apply(a_BD.to(work), b_BD.to(work), scale, task)
    return loss


@dataclass(frozen=True)
class Task:
    """The arguments of a tiled loss beside its tensors."""

    keys_a: Tensor | None
    keys_b: Tensor | None
    products: str
    ranks: Ranks | None
    grad: bool

    @property
    def world(self) -> int:
        """How many ranks there are."""
        return 1 if self.ranks is None else len(self.ranks.counts)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks."""
        return rows if self.ranks is None else self.ranks.gather(rows)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks."""
        return values if self.ranks is None else self.ranks.sum(values)

    def here(self, rows: Tensor) -> slice:
        """Where this rank's rows are among all."""
        return slice(0, len(rows)) if self.ranks is None else self.ranks.here

    def needs(self, flags: tuple[bool, ...], device: torch.device) -> list[bool]:
        """What any rank needs a gradient of: they have to agree, since each computes parts of the others'."""
        return (self.sum(torch.tensor(flags, dtype=torch.int64, device=device)) > 0).tolist()

    def same(self) -> list[Equal]:
        """Rows of equal content, on either side: this rank's against all."""
        if self.keys_a is None or self.keys_b is None:
            return []
        return [Equal(keys, self.gather(keys)) for keys in (self.keys_a, self.keys_b)]


class Gradients:
    """Sums of one evaluation, by the unscaled similarities: for own rows, and for those of all ranks if they differ."""

    def __init__(self, a_nD: Tensor, b_nD: Tensor, task: Task, needs: list[bool]) -> None:
        self.task, self.by_scale = task, 0.0
        self.need_a, self.need_b, self.need_scale = needs[:3]
        self.a = torch.zeros_like(a_nD) if self.need_a else None
        self.b = torch.zeros_like(b_nD) if self.need_b else None
        self.any = self.need_a or self.need_b or self.need_scale

    def everyone(self, own: Tensor | None, rows: Tensor) -> Tensor | None:
        """A buffer for what this rank adds to the rows of all: its own where there is one rank."""
        return own if own is None or self.task.ranks is None else torch.zeros_like(rows)

    def add_everyone(self, own: Tensor | None, rows: Tensor | None) -> None:
        """Takes what all ranks have added to this rank's rows."""
        if own is not None and rows is not None and rows is not own:
            own += self.task.sum(rows)[self.task.here(own)]

    def add_own(self, a_nD: Tensor, b_nD: Tensor, weight_n: Tensor, cosine_n: Tensor) -> None:
        """Adds the part of each row's own partner."""
        column = weight_n.to(a_nD.dtype)[:, None]
        if self.a is not None:
            self.a.addcmul_(column, b_nD)
        if self.b is not None:
            self.b.addcmul_(column, a_nD)
        self.by_scale += float(weight_n @ cosine_n)

    def scaled(self, scale: float, factor: float) -> tuple[Tensor | None, Tensor | None]:
        """The gradients by the rows, in place."""
        for own in (self.a, self.b):
            if own is not None:
                own.mul_(scale * factor)
        return self.a, self.b


class TiledLoss(torch.autograd.Function):
    """A loss whose gradients are computed with it: `backward` only multiplies, and is not collective.

    So no collective of the loss can fall between those that DDP starts as gradients come in, in another order on each
    rank.
    """

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The saved gradients times the incoming one."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a tiled loss has no second derivative, and was asked for one (create_graph=True): "
                "call it with tiled=False, which keeps the whole matrix"
            )
        saved = iter(ctx.saved_tensors)
        return tuple(next(saved) * grads[0].to(kind) if kind else None for kind in ctx.kinds)


def keep(ctx: Any, gradients: list[Tensor | None]) -> None:
    """Saves gradients for `TiledLoss.backward`; None where the input needs none."""
    ctx.kinds = [None if each is None else each.dtype for each in gradients]
    ctx.save_for_backward(*(each for each in gradients if each is not None))


class _InfoNCE(TiledLoss):
    @staticmethod
    def forward(ctx: Any, a_nD: Tensor, b_nD: Tensor, scale: Tensor, task: Task) -> Tensor:
        pass_ = _Pass(a_nD, b_nD, float(scale), task)
        with pass_.products.ready():
            loss = pass_.loss()
            flags = tuple(task.grad and need for need in ctx.needs_input_grad[:3])
            sums = Gradients(a_nD, b_nD, task, task.needs(flags, a_nD.device))
            if sums.any:
                pass_.gradients(sums)
        factor = task.world / (2 * pass_.total)
        by_a, by_b = sums.scaled(float(scale), factor)
        by_scale = torch.full_like(scale, sums.by_scale * factor) if flags[2] else None
        keep(ctx, [by_a if flags[0] else None, by_b if flags[1] else None, by_scale, None])
        return loss.to(a_nD.dtype)


class _Pass:
    """One evaluation: the queries of both directions, and the block of their similarities."""

    def __init__(self, a_nD: Tensor, b_nD: Tensor, scale: float, task: Task) -> None:
        self.a, self.b, self.scale, self.task = a_nD, b_nD, scale, task
        self.products = Products(task.products, a_nD.device)
        self.here = task.here(a_nD)
        self.total = len(a_nD) if task.ranks is None else sum(task.ranks.counts)
        self.cosine_n = dot_rows(a_nD, b_nD)
        own = scale * self.cosine_n
        self.rows, self.columns = Queries.new(own), Queries.new(task.gather(own))

    def loss(self) -> Tensor:
        """The value, after the pass over all tiles that the gradients need as well."""
        task = self.task
        self.b_all = task.gather(self.b)
        self.sweep = Sweep(Block(self.a, self.b_all, self.here.start, task.same()), self.scale, self.products)
        self.sweep.collect(self.rows, self.columns)
        if task.ranks is not None:
            self.columns.join(task.ranks)
        return (task.sum(self.rows.losses().sum()) + self.columns.losses().sum()) / (2 * self.total)

    def gradients(self, sums: Gradients) -> None:
        """Adds every tile's part, then exchanges the ranks' parts."""
        weight = self.rows.own_weight() + self.columns.part(self.here).own_weight()
        b_all = sums.everyone(sums.b, self.b_all)
        a = torch.zeros_like(self.a) if sums.a is None and b_all is None else sums.a  # the scale's gradient comes by it
        sums.by_scale += self.sweep.gradients(self.rows, self.columns, a, b_all)
        sums.add_everyone(sums.b, b_all)
        sums.add_own(self.a, self.b, weight, self.cosine_n)

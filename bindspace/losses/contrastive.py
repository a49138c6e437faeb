"""Symmetric InfoNCE over the rows of a batch, without its matrix of similarities, over one process or many.

Shapes: B rows (of this rank), D dims. `a_BD[i]` and `b_BD[i]` are the two sides of one event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bindspace.losses.plain import Bank, info_nce_plain
from bindspace.losses.products import Products
from bindspace.losses.ranks import Ranks
from bindspace.losses.tiles import Block, Equal, Queries, Sweep, dot_rows

PAYS = 1024  # rows; at 512 the plain form still took 0.8 of the tiled time: benchmarks/contrastive.py --sizes 512,1024


def info_nce(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    events: Tensor | None = None,
    bank: Bank | None = None,
    products: str = "float32",
    ranks: Ranks | None = None,
    local: bool = False,
    tiled: bool | None = None,
    near_BB: Tensor | None = None,
    soft_BB: Tensor | None = None,
) -> Tensor:
    """The mean of both directions' losses over the batch's own rows: a scalar, exact, with gradients for all three.

    Rows are unit vectors and the scale multiplies their cosines (van den Oord et al. 2018, equation 4; symmetric as in
    CLIP, Radford et al. 2021, figure 3; ImageBind, Girdhar et al. 2023, equation 1).

    `keys_a`, `keys_b` (B,), from `content_keys`: rows with the same content on either side are not counted as negatives
    of each other. `events` (B,): rows of one event are positives of each other, and the loss of a row is the mean of
    -log p over its positives, p over positives and negatives (Khosla et al. 2020, equation 2). `bank`: past rows as
    further negatives, constants (Wang et al. 2020, XBM); with keys, those of the row's own content are left out.
    `products`: `float32`, or `bf16` with sums in float32.

    `ranks`: the rows are this rank's share of one batch, and every rank calls. The value is the whole batch's, the same
    on all; gradients are such that DDP's mean over ranks is the gradient of one process with the joined batch. `local`:
    the value is that of this rank's rows as queries, weighted so that the mean over ranks is the whole batch's; the
    gradients are the same, for twice the products.

    `near_BB`, bool: couples that are no negatives. `soft_BB`: the target of each row of either side over the columns of
    the other, rows that sum to 1, and 0 where a couple is no negative (`bindspace.losses.soft` makes both). The plain
    form alone has them.

    `tiled`: None chooses by the number of rows. Where it is tiled, gradients are computed in the forward pass, and
    there is no second derivative.
    """
    if tiled is None:
        tiled = ranks is not None or products != "float32" or len(a_BD) >= PAYS
    if not tiled and (ranks is not None or products != "float32"):
        raise ValueError("expected tiled=True with ranks or bf16 products: the plain form has neither")
    if tiled and not (near_BB is None and soft_BB is None):
        raise ValueError(f"near_BB, soft_BB: expected a plain loss of fewer than {PAYS} rows, got tiles")
    keys = {"keys_a": keys_a, "keys_b": keys_b}
    if not tiled:
        shaped = {"near_BB": near_BB, "soft_BB": soft_BB}
        return info_nce_plain(a_BD, b_BD, logit_scale, **keys, events=events, bank=bank, **shaped)
    work = torch.float64 if a_BD.dtype == torch.float64 else torch.float32
    scale = torch.as_tensor(logit_scale, device=a_BD.device)
    task = Task(keys_a, keys_b, events, bank, products, ranks, local, torch.is_grad_enabled())
    loss: Tensor = _InfoNCE.apply(a_BD.to(work), b_BD.to(work), scale, task)
    return loss


@dataclass(frozen=True)
class Task:
    """What a tiled loss is asked beside its tensors."""

    keys_a: Tensor | None
    keys_b: Tensor | None
    events: Tensor | None
    bank: Bank | None
    products: str
    ranks: Ranks | None
    local: bool
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

    def same(self, bank: bool = False) -> list[Equal]:
        """Rows of equal content, on either side: this rank's against all, or against the bank's."""
        if self.keys_a is None or self.keys_b is None:
            return []
        if bank:
            assert self.bank is not None
            return [Equal(self.keys_a, self.bank.keys_a_M, False), Equal(self.keys_b, self.bank.keys_b_M, False)]
        return [Equal(keys, self.gather(keys), True) for keys in (self.keys_a, self.keys_b)]


class Gradients:
    """Sums of one evaluation, by the unscaled similarities: for own rows, and for those of all ranks if they differ."""

    def __init__(self, a_nD: Tensor, b_nD: Tensor, task: Task, needs: list[bool]) -> None:
        self.task, self.by_scale = task, 0.0
        self.need_a, self.need_b, self.need_scale = needs[:3]
        self.a = torch.zeros_like(a_nD) if self.need_a else None
        self.b = torch.zeros_like(b_nD) if self.need_b else None
        self.any = self.need_a or self.need_b or self.need_scale

    def everyone(self, own: Tensor | None, rows: Tensor) -> Tensor | None:
        """Room for what this rank adds to the rows of all: its own room where there is one rank."""
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
    """One evaluation: the queries of both directions, and the blocks that they meet."""

    def __init__(self, a_nD: Tensor, b_nD: Tensor, scale: float, task: Task) -> None:
        self.a, self.b, self.scale, self.task = a_nD, b_nD, scale, task
        self.products = Products(task.products, a_nD.device)
        self.here = here = task.here(a_nD)
        self.total = len(a_nD) if task.ranks is None else sum(task.ranks.counts)
        self.local = task.local and task.ranks is not None
        self.cosine_n = dot_rows(a_nD, b_nD)
        count = self._counts()
        own = scale * self.cosine_n
        self.rows = Queries.new(own, None if count is None else count[here])
        self.columns = self.rows.fresh() if self.local else Queries.new(task.gather(own), count)

    def _counts(self) -> Tensor | None:
        """How many positives each row of the whole batch has; None: one."""
        if self.task.events is None:
            return None
        _, inverse, counts = self.task.gather(self.task.events).unique(return_inverse=True, return_counts=True)
        return counts[inverse].double()

    def loss(self) -> Tensor:
        """The value, after the pass over all blocks that the gradients need as well."""
        task, events = self.task, self.task.events
        positives = None if events is None else Equal(events, task.gather(events), True)
        same, first = task.same(), self.here.start
        self.b_all = task.gather(self.b)
        self.main = self._sweep(Block(self.a, self.b_all, first, same, positives))
        self.main.collect(self.rows, None if self.local else self.columns)
        if self.local:
            self.a_all = task.gather(self.a)
            self.other = self._sweep(Block(self.b, self.a_all, first, same, positives))
            self.other.collect(self.columns, None)
        self.past = self._past()
        for sweep, queries, _ in self.past:
            sweep.collect(queries, None)
        if task.ranks is None or self.local:
            return (self.rows.losses().sum() + self.columns.losses().sum()) * task.world / (2 * self.total)
        self.columns.join(task.ranks)
        return (task.sum(self.rows.losses().sum()) + self.columns.losses().sum()) / (2 * self.total)

    def _sweep(self, block: Block) -> Sweep:
        return Sweep(block, self.scale, self.products)

    def _past(self) -> list[tuple[Sweep, Queries, bool]]:
        """Blocks against the bank, their queries, and whether these are the a side."""
        if self.task.bank is None:
            return []
        columns, same = self.columns if self.local else self.columns.part(self.here), self.task.same(bank=True)
        against_b = self._sweep(Block(self.a, self.task.bank.b_MD.to(self.a.dtype), None, same))
        against_a = self._sweep(Block(self.b, self.task.bank.a_MD.to(self.a.dtype), None, same))
        return [(against_b, self.rows, True), (against_a, columns, False)]

    def gradients(self, sums: Gradients) -> None:
        """Adds every block's part, then what the ranks owe each other."""
        own = self.columns if self.local else self.columns.part(self.here)
        weight = self.rows.own_weight() + own.own_weight()
        b_all = sums.everyone(sums.b, self.b_all)
        self._add(sums, self.main, self.rows, None if self.local else self.columns, sums.a, b_all)
        sums.add_everyone(sums.b, b_all)
        if self.local:
            a_all = sums.everyone(sums.a, self.a_all)
            self._add(sums, self.other, self.columns, None, sums.b, a_all)
            sums.add_everyone(sums.a, a_all)
        for sweep, queries, of_a in self.past:
            self._add(sums, sweep, queries, None, sums.a if of_a else sums.b, None)
        sums.add_own(self.a, self.b, weight, self.cosine_n)

    @staticmethod
    def _add(
        sums: Gradients,
        sweep: Sweep,
        left: Queries,
        right: Queries | None,
        left_nD: Tensor | None,
        right_MD: Tensor | None,
    ) -> None:
        if left_nD is None and right_MD is None:
            if not sums.need_scale:
                return
            left_nD = torch.zeros_like(sweep.block.left_nD)
        sums.by_scale += sweep.gradients(left, right, left_nD, right_MD)

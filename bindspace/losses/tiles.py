"""A block of a similarity matrix, tile by tile: its log-sum-exps both ways, and what it adds to gradients.

Shapes: n rows on the left, M on the right, D dims. A block is never held as a whole: memory is two tiles.

In float32 one exponential of a tile serves rows and columns, with one reference for the whole block. It is exact while
logits stay within `FLOAT32` of zero and no sum leaves float32's range, which is checked; elsewhere tiles are computed
in float64, with a reference for each row and column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bindspace.losses.products import Products
from bindspace.losses.world import Ranks

TILE = 1024  # 1,024 x 1,024 was fastest of 512, 1,024 and 2,048 on two kinds of processor
PLAIN = 80.0  # |logit| up to here: exp(logit) and its sums over a tile stay in float32, whatever the rows are
FLOAT32 = 128.0  # |logit| up to here: float32 holds logits to 1e-5; a temperature of 0.0078 for unit rows
LOWEST, HIGHEST = -57.0, 80.0  # of log(sum) - reference: nothing that counts is lost to underflow, nothing overflows


class Equal:
    """Where left and right hold equal ids, tile by tile, without a comparison of all with all."""

    def __init__(self, left_n: Tensor, right_M: Tensor) -> None:
        """Each left row is one of the right rows, and does not count as equal to itself."""
        values, inverse, counts = right_M.unique(return_inverse=True, return_counts=True)
        place = torch.searchsorted(values, left_n).clamp_(max=max(len(values) - 1, 0))
        found = (values[place] == left_n) & (counts[place] > 1) if len(values) else torch.zeros_like(place) > 0
        self.rows, self.row_ids = found.nonzero()[:, 0], place[found]
        met = torch.zeros(len(values), dtype=torch.bool, device=left_n.device)
        met[self.row_ids] = True
        self.columns = met[inverse].nonzero()[:, 0]
        self.column_ids = inverse[self.columns]

    def within(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Row and column, counted within the tile, of every equal pairing."""
        r, c = _between(self.rows, rows), _between(self.columns, columns)
        i, j = (self.row_ids[r, None] == self.column_ids[None, c]).nonzero(as_tuple=True)
        return self.rows[r][i] - rows.start, self.columns[c][j] - columns.start


def _between(index: Tensor, span: slice) -> slice:
    if not len(index):
        return slice(0, 0)
    edges = torch.tensor([span.start, span.stop], device=index.device)
    first, last = torch.searchsorted(index, edges).tolist()
    return slice(first, last)


@dataclass
class Queries:
    """What a side's rows have added up, in float64: the logit of their own partner, the log-sum-exp of negatives."""

    own: Tensor
    negative: Tensor  # -inf where there is none

    @classmethod
    def new(cls, own: Tensor) -> Queries:
        """Before any block: each row has its own partner."""
        return cls(own, torch.full_like(own, -torch.inf))

    @property
    def all(self) -> Tensor:
        """Log-sum-exp over the own partner and the negatives."""
        return torch.logaddexp(self.negative, self.own)

    def losses(self) -> Tensor:
        """-log p of the own partner. Nothing is subtracted from itself: a small loss keeps its digits."""
        return torch.nn.functional.softplus(self.negative - self.own)

    def part(self, rows: slice) -> Queries:
        """Some of the rows; what is added to them is added to the whole."""
        return Queries(self.own[rows], self.negative[rows])

    def own_weight(self) -> Tensor:
        """Gradient of the loss by the logit of each row's own partner: minus the negatives' share of probability."""
        return -torch.sigmoid(self.negative - self.own)

    def join(self, ranks: Ranks) -> None:
        """Adds up what the ranks have met, each with its own rows."""
        self.negative.copy_(ranks.logsumexp(self.negative))


@dataclass
class Block:
    """Left rows against right rows. Unit rows are the rule; their norms are measured all the same."""

    left_nD: Tensor
    right_MD: Tensor
    first: int = 0  # the column of row 0's own partner; that of row 1 follows
    same: list[Equal] = field(default_factory=list)  # equal ones are not negatives

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Row and column spans."""
        for row in range(0, len(self.left_nD), TILE):
            for column in range(0, len(self.right_MD), TILE):
                yield (
                    slice(row, min(row + TILE, len(self.left_nD))),
                    slice(column, min(column + TILE, len(self.right_MD))),
                )

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """Left and right rows."""
        return self.left_nD, self.right_MD

    def reach(self, scale: float) -> float:
        """No logit is further from zero."""
        if not len(self.left_nD) or not len(self.right_MD):
            return 0.0
        longest = [torch.linalg.vector_norm(x, dim=1).max() for x in (self.left_nD, self.right_MD)]
        return abs(scale) * float(longest[0] * longest[1])

    def buffer(self) -> Tensor:
        """Room for one tile."""
        shape = min(TILE, len(self.left_nD)), min(TILE, len(self.right_MD))
        return self.left_nD.new_empty(shape)

    def own_within(self, tile: Tensor, rows: slice, columns: slice) -> Tensor:
        """A view of the tile's entries that are rows with their own partners."""
        offset = self.first + rows.start - columns.start
        inside = -tile.shape[0] < offset < tile.shape[1]
        return tile.diagonal(offset) if inside else tile[:0, :0].diagonal()


class Sweep:
    """The passes over one block at one logit scale."""

    def __init__(self, block: Block, scale: float, products: Products) -> None:
        self.block, self.scale, self.products = block, scale, products
        reach = block.reach(scale)
        self.exact = block.left_nD.dtype == torch.float64 or not reach <= FLOAT32  # NaN too
        self.room = block.buffer()
        self.reference = 0.0 if self.exact or reach <= PLAIN else self._sample()
        self.kept: Tensor | None = None  # the exponentials of a block of one tile

    def _sample(self) -> float:
        """A reference that suits the first tile's rows: the middle of their best negatives, and a little lower."""
        best = self._logits(*next(self.block.tiles())).amax(1)
        best = best[best.isfinite()]
        return float((best.min() + best.max()) / 2) - 9 if len(best) else 0.0

    def _logits(self, rows: slice, columns: slice) -> Tensor:
        """Logits of a tile, -inf where there is no negative."""
        block, left, right = self.block, self.block.left_nD[rows], self.block.right_MD[columns]
        if self.exact:
            tile = self.scale * (left.double() @ right.double().T)
        else:
            tile = self.products.logits(left, right, self.scale, self.room[: len(left), : len(right)])
        block.own_within(tile, rows, columns).fill_(-torch.inf)
        for equal in block.same:
            if len(equal.rows):
                tile[equal.within(rows, columns)] = -torch.inf
        return tile

    def collect(self, left: Queries, right: Queries) -> None:
        """Adds the block's log-sum-exps to what its rows and its columns have so far."""
        found = None if self.exact else self._fast_sums()
        if found is None:
            self.exact, self.kept = True, None
            found = self._exact_sums()
        for queries, sums in zip((left, right), found, strict=True):
            queries.negative.copy_(torch.logaddexp(queries.negative, sums))

    def _fast_sums(self) -> tuple[Tensor, Tensor] | None:
        """Log-sum-exps by row and column, from one exponential; None where one of them left float32's range."""
        row_n, column_M = (torch.zeros(len(x), dtype=torch.float64, device=x.device) for x in self.block.sides)
        tile = self.room
        for rows, columns in self.block.tiles():
            tile = self._exponentials(rows, columns)
            row_n[rows] += tile.sum(1)
            column_M[columns] += tile.sum(0)
        row_n, column_M = row_n.log(), column_M.log()
        if not all(_in_range(sums) for sums in (row_n, column_M)):
            return None
        if tile.shape == (len(row_n), len(column_M)):
            self.kept = tile
        return row_n + self.reference, column_M + self.reference

    def _exponentials(self, rows: slice, columns: slice) -> Tensor:
        tile = self._logits(rows, columns)
        return (tile.sub_(self.reference) if self.reference else tile).exp_()

    def _exact_sums(self) -> tuple[Tensor, Tensor]:
        row_n, column_M = (
            torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device) for x in self.block.sides
        )
        for rows, columns in self.block.tiles():
            tile = self._logits(rows, columns)
            row_n[rows] = torch.logaddexp(row_n[rows], tile.logsumexp(1))
            column_M[columns] = torch.logaddexp(column_M[columns], tile.logsumexp(0))
        return row_n, column_M

    def gradients(self, left: Queries, right: Queries, left_nD: Tensor | None, right_MD: Tensor | None) -> float:
        """Adds to the rows' gradients, by the unscaled similarities; returns that by the logit scale.

        None: a side that needs none; one of them is there. `left`, `right` are complete by now, over all ranks.
        """
        x, total = (self.block.left_nD, left_nD) if left_nD is not None else (self.block.right_MD, right_MD)
        assert total is not None
        before = dots(x, total)
        lse = left.all, right.all
        if not self.exact and not all(_in_range(each - self.reference) for each in lse):
            self.exact, self.kept = True, None
        weights = self.block.buffer()
        for rows, columns in self.block.tiles():
            tile = self._weights(rows, columns, lse[0][rows, None], lse[1][None, columns], weights)
            if left_nD is not None:
                self.products.add(left_nD[rows], tile, self.block.right_MD[columns])
            if right_MD is not None:
                self.products.add(right_MD[columns], tile.T, self.block.left_nD[rows])
        return dots(x, total) - before

    def _weights(self, rows: slice, columns: slice, row_n1: Tensor, column_1M: Tensor, room: Tensor) -> Tensor:
        """The loss's gradient by the logits of a tile, its rows' own partners aside."""
        if self.exact:
            logits = self._logits(rows, columns)
            return torch.exp(logits - row_n1).add_(torch.exp(logits - column_1M)).to(room.dtype)
        weights = room[: len(row_n1), : columns.stop - columns.start]
        u, v = (torch.exp(self.reference - lse).to(room.dtype) for lse in (row_n1, column_1M))
        torch.add(u, v, out=weights)
        return weights.mul_(self.kept) if self.kept is not None else self._exponentials(rows, columns).mul_(weights)


def _in_range(sums: Tensor) -> bool:
    return bool(((sums > LOWEST) & (sums < HIGHEST)).all())


def dots(left_nD: Tensor, right_nD: Tensor) -> float:
    """The sum over rows of their dot products, in float64, without a float64 copy of the whole."""
    return float(
        sum(dot_rows(left_nD[i : i + TILE], right_nD[i : i + TILE]).sum() for i in range(0, len(left_nD), TILE))
    )


def dot_rows(left_nD: Tensor, right_nD: Tensor) -> Tensor:
    """Dot product of each row with its partner, float64 (n,)."""
    parts = [
        (left_nD[i : i + TILE].double() * right_nD[i : i + TILE].double()).sum(1)
        for i in range(0, max(len(left_nD), 1), TILE)
    ]
    return torch.cat(parts)

"""Matrix products of tiles: float32, or bf16 with sums in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Products:
    """The matrix products of a loss. `bf16` rounds both operands to bf16 and sums in float32, on every device the same.

    It is faster on a GPU, and on a processor with AMX; elsewhere the rounding is done, and the product
    is one of float32.
    """

    def __init__(self, kind: str, device: torch.device) -> None:
        if kind not in ("float32", "bf16"):
            raise ValueError(f"expected products of float32 or bf16, got {kind!r}")
        self.bf16 = kind == "bf16"
        self.cuda = device.type == "cuda"
        self.units = self.bf16 and device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16", False))

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Lets the processor's bf16 units take float32 products for the block."""
        matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        before = matmul.fp32_precision
        if self.units:
            matmul.fp32_precision = "bf16"
        try:
            yield
        finally:
            matmul.fp32_precision = before

    def logits(self, left: Tensor, right: Tensor, scale: float, out: Tensor) -> Tensor:
        """scale * left @ right.T, written into `out`."""
        if self.bf16 and self.cuda:
            torch.mm(left.bfloat16(), right.bfloat16().T, out_dtype=torch.float32, out=out)
            return out.mul_(scale)
        return torch.addmm(out, self._rounded(left), self._rounded(right).T, beta=0, alpha=scale, out=out)

    def add(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        """total += left @ right, in place."""
        if self.bf16 and self.cuda:
            total += torch.mm(left.bfloat16(), right.bfloat16(), out_dtype=torch.float32)
        else:
            total.addmm_(self._rounded(left), self._rounded(right))

    def _rounded(self, x: Tensor) -> Tensor:
        return x.bfloat16().float() if self.bf16 and not self.units else x

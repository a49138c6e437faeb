"""A training step of a ViT-tiny on spectrograms against a frozen ViT-B/16: pictures encoded anew, or looked up.

usage: python benchmarks/pivot_cache.py [batch] [rounds]     One step is both sides, InfoNCE, backward, AdamW. Reading
and preparing are left out on both ways; the looked-up step would be spared the picture's too. Looked up are vectors in
a memory-mapped cache of 20,000, by random cells.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measure import DEVICE, begin, emit, interleaved, peak_mb
from torch.nn import functional as F

from bindspace import ModalityConfig
from bindspace.losses import info_nce
from bindspace.modules.trunks import vit_trunk
from bindspace.space.space import Space
from bindspace.vectors.cache import VectorCache
from bindspace.vectors.key import tower_key

CELLS = 20_000
DIM = 512


class PictureConfig(ModalityConfig):
    """ViT-B/16 at 224 x 224."""

    modality = "picture"
    expects = "pixels"

    def encoder(self, *, pretrained: bool) -> torch.nn.Module:
        """(B, 3, 224, 224) -> (B, 768)."""
        return vit_trunk(3, 224, 16, 768, heads=12)


class SoundConfig(ModalityConfig):
    """ViT-tiny on 128 mel bands x 208 frames (two seconds), patches of 16."""

    modality = "sound"
    expects = "a spectrogram"

    def encoder(self, *, pretrained: bool) -> torch.nn.Module:
        """(B, 1, 128, 208) -> (B, 192)."""
        return vit_trunk(1, (128, 208), 16, 192)


def steps(batch: int, cache: Path) -> dict[str, Callable[[], object]]:
    """The calls to compare, over one space."""
    torch.manual_seed(0)
    space = Space({"picture": PictureConfig(width=768), "sound": SoundConfig(width=192)}, DIM, "picture").to(DEVICE)
    space.towers["picture"].requires_grad_(False).eval()
    optimizer = torch.optim.AdamW([p for p in space.parameters() if p.requires_grad], fused=True)
    pixels, sound = torch.randn(batch, 3, 224, 224, device=DEVICE), torch.randn(batch, 1, 128, 208, device=DEVICE)
    vectors, rows = filled(space, cache), np.random.default_rng(0).integers(0, CELLS, batch)

    def step(looked_up: bool, bf16: bool) -> None:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            if looked_up:
                a = vectors.take(rows).to(DEVICE)
            else:
                with torch.no_grad():
                    a = space("picture", {"pixels": pixels})
            b = space("sound", {"pixels": sound})
        optimizer.zero_grad()
        info_nce(a, b, 1 / 0.07).backward()
        optimizer.step()

    ways = {"encoded": False, "looked up": True}
    kinds = {"float32": False, "bf16": True}
    calls = {f"{way}, {kind}": partial(step, ways[way], kinds[kind]) for kind in kinds for way in ways}
    return calls | {"lookup alone": lambda: vectors.take(rows)}


def filled(space: Space, place: Path) -> VectorCache:
    """A cache with a vector for each of so many made-up cells."""
    cache = VectorCache(place, tower_key(space, "picture"))
    rng = np.random.default_rng(1)
    for _ in range(CELLS // 1000):
        cache.add(rng.integers(0, 256, (1000, 32), dtype=np.uint8), F.normalize(torch.randn(1000, DIM), dim=-1))
    cache.refresh()
    return cache


def make(batch: int, case: str, cache: Path) -> Callable[[], object]:
    """One step in a fresh process."""
    return steps(batch, cache)[case]


def main(batch: int = 16, rounds: int = 5) -> None:
    """Prints a line for each way and precision."""
    begin()
    with tempfile.TemporaryDirectory() as folder:
        calls = steps(batch, Path(folder))
        times = interleaved(calls, rounds)
        for case in calls:
            base = case.replace("looked up", "encoded")
            speed = {"speedup": 1 / times.ratio(case, base)} if "looked up" in case else {}
            peak = {} if case == "lookup alone" else {"peak_mb": peak_mb(make, batch, case, Path(folder))}
            emit(f"pivot {case}", batch=batch, seconds=times.median(case), **speed, **peak)


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))

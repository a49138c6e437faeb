"""ImageBind towers against a straightforward construction of the same towers, with the same weights, in one run.

usage: python benchmarks/imagebind_towers.py [--modalities imu depth ...] [--rounds 3] [--batch 8]

The other construction is that of a reader of the paper: `nn.MultiheadAttention` on (tokens, rows, channels), pictures
doubled to two frames before a 3-D convolution, LayerNorm on all tokens before one is picked, 77 tokens for every text.
One JSON line a case: samples a second of both, and the ratio. bf16 is measured where the machine has instructions for
it, against float32 of the other construction. Both have full size; the image towers take 3 GB and are not among the
default modalities. The last line holds geometric means, with the captions as they are and with texts that fill all 77
tokens (`text_full`).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from measure import DEVICE, begin, emit, interleaved
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace_imagebind import tokenizer
from bindspace_imagebind.format import CONFIGS
from bindspace_imagebind.towers import FRAMES, GridTower, ImageTower, ImuTower, TextTower, Trunk

CAPTIONS = ["a photo of a car", "a dog barks twice", "the sound of rain falling on a tin roof", "two people talk"]
SHAPES = {
    "image": (3, 224, 224),
    "audio": (1, 128, 204),
    "depth": (1, 224, 224),
    "thermal": (1, 224, 224),
    "imu": (6, 2000),
}
DEFAULT = ["imu", "depth", "thermal", "audio", "text"]
AGREE = {torch.float32: 5e-6, torch.bfloat16: 5e-2}  # relative L2 distance of unit vectors


class PlainBlock(nn.Module):
    """A block around torch's own attention, with the weights of one of ours."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        width, attention = ours.norm1.normalized_shape[0], ours.attention
        extra = attention.extra_key is not None
        self.attention = nn.MultiheadAttention(width, attention.heads, add_bias_kv=extra, device="meta")
        self.attention.in_proj_weight, self.attention.in_proj_bias = attention.qkv.weight, attention.qkv.bias
        self.attention.out_proj.weight, self.attention.out_proj.bias = attention.out.weight, attention.out.bias
        self.attention.bias_k, self.attention.bias_v = attention.extra_key, attention.extra_value
        self.norm1, self.norm2, self.fc1, self.fc2 = ours.norm1, ours.norm2, ours.fc1, ours.fc2

    def forward(self, x_NBD: Tensor, mask: Tensor | None) -> Tensor:
        """(N, B, D) -> (N, B, D)."""
        y = self.norm1(x_NBD)
        x_NBD = x_NBD + self.attention(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x_NBD + self.fc2(F.gelu(self.fc1(self.norm2(x_NBD))))


class PlainTower(nn.Module):
    """The whole tower, sharing the weights of one of ours."""

    def __init__(self, ours: Trunk) -> None:
        super().__init__()
        self.ours = ours
        self.blocks = nn.ModuleList(PlainBlock(block) for block in ours.blocks)
        ends = torch.full((77, 77), float("-inf"), device=ours.positions.device).triu(1)
        self.register_buffer("mask", ends if isinstance(ours, TextTower) else None)

    def forward(self, inputs: Tensor) -> Tensor:
        """Rows as `prepare` gives them -> (R, width), before normalisation."""
        x_NBD = self._tokens(inputs).transpose(0, 1)
        for block in self.blocks:
            x_NBD = block(x_NBD, self.mask)
        x_BND = x_NBD.transpose(0, 1)
        if isinstance(self.ours, TextTower):
            x_BD = x_BND[torch.arange(len(x_BND), device=x_BND.device), inputs.argmax(1)]
            return self.ours.project(self.ours.norm_out(x_BD))
        return self.ours.project(self.ours.norm_out(x_BND)[:, 0])

    def _tokens(self, inputs: Tensor) -> Tensor:
        ours: Any = self.ours
        if isinstance(ours, TextTower):
            return F.embedding(inputs, ours.embedding) + ours.positions
        if isinstance(ours, ImuTower):
            windows = inputs.unfold(2, 8, 8).permute(0, 2, 1, 3).reshape(len(inputs), -1, 48)
            x_BND = ours.stem_norm(ours.stem(windows))
        elif isinstance(ours, ImageTower):
            x_BND = ours.stem(inputs[:, :, None].repeat(1, 1, FRAMES, 1, 1)).flatten(2).transpose(1, 2)
        else:
            x_BND = ours.stem_norm(ours.stem(inputs).flatten(2).transpose(1, 2))
        x_BND = torch.cat([ours.class_token.expand(len(x_BND), -1, -1), x_BND], dim=1) + ours.positions
        return ours.norm_in(x_BND) if isinstance(ours, ImageTower) else x_BND


def given(modality: str, batch: int) -> dict[str, Tensor]:
    """The inputs of a modality by the name of the case."""
    if modality == "text":
        captions = [CAPTIONS[i % len(CAPTIONS)] for i in range(batch)]
        full = tokenizer.tokenize([" ".join(captions * 10)] * batch)
        return {"text": tokenizer.tokenize(captions), "text_full": full}
    return {modality: torch.randn(batch, *SHAPES[modality])}


def measure(modality: str, batch: int, rounds: int, bf16: bool) -> dict[str, dict[str, float]]:
    """Prints the lines of one modality; speeds relative to the plain construction in float32, by precision and case."""
    config = CONFIGS[modality]()
    ours = config.encoder(pretrained=False).eval().to(DEVICE)
    assert isinstance(ours, GridTower | ImageTower | ImuTower | TextTower)
    plain = PlainTower(ours).eval()
    fast = config.tower(config.shape()).eval().to(DEVICE, torch.bfloat16) if bf16 else None
    if fast is not None:
        fast.load_state_dict(ours.state_dict())
    ratios: dict[str, dict[str, float]] = {"float32": {}, "bf16": {}}
    for case, inputs in given(modality, batch).items():
        inputs = inputs.to(DEVICE)
        calls: dict[str, Callable[[], Tensor]] = {
            "plain": lambda inputs=inputs: plain(inputs),
            "float32": lambda inputs=inputs: ours(inputs),
        }
        if fast is not None:
            calls["bf16"] = lambda inputs=inputs: fast(inputs)
        with torch.inference_mode():
            wanted, gaps = F.normalize(calls["plain"]()), {}
            for name, kind in (("float32", torch.float32), ("bf16", torch.bfloat16)):
                if name in calls:
                    gaps[name] = float((F.normalize(calls[name]().float()) - wanted).norm() / wanted.norm())
                    assert gaps[name] <= AGREE[kind], (case, name, gaps[name])
            times = interleaved(calls, rounds)
        for name, gap in gaps.items():
            ratios[name][case] = times.ratio("plain", name)
            emit(
                case,
                precision=name,
                batch=batch,
                samples_per_s=batch / times.median(name),
                plain_float32_samples_per_s=batch / times.median("plain"),
                faster=ratios[name][case],
                distance=gap,
            )
    return ratios


def measure_tokens(rounds: int) -> None:
    """A thousand captions, one call each, against building the tokenizer again for each call."""
    captions = [f"{CAPTIONS[i % len(CAPTIONS)]} number {i}" for i in range(1000)]

    def rebuilt() -> None:
        tokenizer._tokenizer.cache_clear()
        tokenizer.tokenize(captions[:1])

    def ours() -> None:
        for caption in captions:
            tokenizer.tokenize([caption])

    tokenizer.tokenize(captions[:1])
    calls = {"ours": ours, "together": lambda: tokenizer.tokenize(captions), "rebuilt": rebuilt}
    times = interleaved(calls, rounds)
    emit(
        "tokens",
        captions=1000,
        one_by_one_s=times.median("ours"),
        in_one_call_s=times.median("together"),
        rebuilt_each_call_s=1000 * times.median("rebuilt"),
        faster=1000 * times.ratio("rebuilt", "ours"),
    )


def main() -> None:
    """All cases, then the geometric means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modalities", nargs="+", default=DEFAULT, choices=list(CONFIGS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    found_here = begin(options.threads)
    bf16 = bool(found_here["amx_bf16"] or found_here["avx512_bf16"]) or DEVICE == "cuda"
    torch.manual_seed(0)
    ratios: dict[str, dict[str, float]] = {"float32": {}, "bf16": {}}
    for modality in options.modalities:
        for precision, found in measure(modality, options.batch, options.rounds, bf16).items():
            ratios[precision] |= found
    measure_tokens(options.rounds)
    means = {
        f"{precision}_faster{name}": statistics.geometric_mean([found[case] for case in found if case != left_out])
        for precision, found in ratios.items()
        for name, left_out in (("", "text_full"), ("_with_full_texts", "text"))
        if found
    }
    emit(
        "summary", modalities=options.modalities, **means, bf16="measured" if bf16 else "no bf16 instructions: left out"
    )


if __name__ == "__main__":
    main()

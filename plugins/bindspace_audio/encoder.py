"""The log-mel spectrogram and its trunks. Shapes: B clips, F mel bands, T frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.transforms import MelScale, Spectrogram

from bindspace.io.sequences import ConvOverTime, is_real
from bindspace.modules.trunks import VitTrunk

# Fixed, not learned from data, so that every space hears alike: about the mean and the spread of the natural log of mel
# power (Hann window of 400 samples), for sounds whose peak is near 0.3 of full scale.
FLOOR, MEAN, SPREAD = 1e-6, -4.0, 4.5
MASKS = 2  # SpecAugment: bands and spans, each up to these shares of the spectrogram
BAND, SPAN = 0.2, 0.2


class LogMel:
    """Waveforms to normalised log-mel power."""

    def __init__(self, rate: int, window: int, fft: int, hop: int, mels: int) -> None:
        self.hop, self.margin = hop, fft // 2
        self.spectrum = Spectrogram(fft, window, hop, power=None, center=False)
        self.bands = MelScale(mels, rate, f_min=20.0, n_stft=fft // 2 + 1)

    @torch.no_grad()
    def __call__(self, waves_BN: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n) -> (B, 1, F, T) with 0 behind a wave's end, and the number of frames (B,) that are sound.

        Frames are centred and see zeros beyond both ends, so they do not depend on how far a wave is padded.
        """
        real, imaginary = torch.view_as_real(self.spectrum(F.pad(waves_BN, (self.margin, self.margin)))).unbind(-1)
        power_BFT = self.bands(torch.addcmul(real.square(), imaginary, imaginary))  # abs() takes thrice as long
        frames = 1 + lengths // self.hop
        mel_BFT = (torch.log(power_BFT + FLOOR) - MEAN) / SPREAD
        return (mel_BFT * is_real(frames, mel_BFT.shape[-1])[:, None]).unsqueeze(1), frames


log_mel = lru_cache(maxsize=4)(LogMel)  # windows and filters are built once


def mask_spans(mel_B1FT: Tensor, frames: Tensor, seeds: Sequence[int]) -> None:
    """Sets bands and spans to 0, about the mean, in place (SpecAugment: Park et al. 2019, section 2)."""
    for mel_FT, length, seed in zip(mel_B1FT[:, 0], frames.tolist(), seeds):
        u = np.random.default_rng([seed, 1]).random((MASKS, 4))
        for band, low, span, start in u:
            height, duration = round(BAND * band * len(mel_FT)), round(SPAN * span * length)
            bottom, first = int(low * (len(mel_FT) - height + 1)), int(start * (length - duration + 1))
            mel_FT[bottom : bottom + height] = 0
            mel_FT[:, first : first + duration] = 0


class SpectrogramConv(ConvOverTime):
    """A CNN over spectrograms of any length."""

    def __init__(self, channels: Sequence[int], depth: int, width: int) -> None:
        super().__init__(1, channels, (4, 4), width, depth=depth)

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """(B, 1, F, T) and (B,) -> (B, width)."""
        return super().forward(mel, frames)


class SpectrogramVit(VitTrunk):
    """A ViT over spectrograms of one length; shorter ones are filled up with the mean (as AST: Gong et al. 2021)."""

    def __init__(self, mels: int, frames: int, patch: int, width: int, layers: int, heads: int) -> None:
        length = -(-frames // patch) * patch
        super().__init__(1, (mels, length), patch, width, layers, heads)
        self.length = length

    def tokens(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """(B, 1, F, T) -> (B, 1 + patches, width)."""
        return super().tokens(F.pad(mel, (0, self.length - mel.shape[-1])))

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """(B, 1, F, T) -> (B, width)."""
        return super().forward(F.pad(mel, (0, self.length - mel.shape[-1])))

"""Audio: sound files of any rate and length -> 16 kHz mono -> log-mel spectrogram -> CNN, or ViT at size=base."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import ModalityConfig
from bindspace.modules.picture_config import Trunk, check_model

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

GAIN_DB = 6.0  # training: louder or softer by at most this
SHIFT_SECONDS = 0.1  # training: earlier or later by at most this


@dataclass(kw_only=True)
class AudioConfig(ModalityConfig):
    """Clips of `clip_seconds` as log-mel spectrograms; shorter sounds are masked, longer ones give several clips."""

    modality: ClassVar[str] = "audio"
    expects: ClassVar[str] = (
        "a WAV, FLAC, OGG or MP3 file of any rate and length, or an array (n,) or (n, channels) within -1..1 with its "
        "`rate` in Hz; neither silent nor damaged"
    )
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"channels": [64, 128, 192], "depth": 2, "width": 384},
        "base": {"trunk": Trunk.vit, "window": 400, "fft": 1024, "hop": 160, "mels": 128, "width": 768},
    }

    near: ClassVar[int] = 40  # of 256 bits
    small: ClassVar[Mapping[str, Any]] = {"clip_seconds": 1.0, "channels": [8, 16, 24], "width": 64}

    rate: int = 16000  # Hz, after resampling
    clip_seconds: float = 2.0
    clips: int = 3  # at most this many of a longer sound in evaluation, evenly spread and averaged
    min_seconds: float = 0.02
    window: int = 512  # samples a frame: 32 ms
    fft: int = 512  # points of the transform; more than `window` where many `mels` need finer frequencies
    hop: int = 320  # samples from frame to frame: 20 ms
    mels: int = 64  # bands of the spectrogram
    trunk: Trunk = Trunk.conv
    channels: list[int] = field(default_factory=lambda: [40, 80, 128])  # of trunk=conv: by stage
    depth: int = 1  # of trunk=conv: residual blocks a stage
    model: str | None = None  # for trunk=timm: a model name of timm, e.g. resnet18, which also sets `width`
    patch: int = 16  # this and the following: for trunk=vit only
    layers: int = 12
    heads: int = 12

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """The sound as a float32 mono waveform (n,) at `rate`; of a file, only the fragment `t` is decoded."""
        from bindspace.io.sounds import read_wave

        return read_wave(source, info, self.rate, self.min_seconds)

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`mel` (R, 1, mels, T), normalised log power with 0 behind the end; `frames` (R,), how many of T are sound.

        Training takes one random crop; `weak` also changes gain and time a little, `strong` masks bands and spans too.
        Evaluation covers a longer sound by several clips, with `owner`.
        """
        from bindspace.io.sequences import check_augment, cut_clips, pad_rows
        from bindspace_audio.encoder import log_mel, mask_spans

        check_augment(augment)
        clip = round(self.clip_seconds * self.rate)
        rows, owner = cut_clips(samples, clip, self.clips, seeds)
        if seeds is not None and augment != "none":
            rows = [self._vary(row, clip, seed) for row, seed in zip(rows, seeds)]
        mel, frames = log_mel(self.rate, self.window, self.fft, self.hop, self.mels)(*pad_rows(rows))
        if seeds is not None and augment == "strong":
            mask_spans(mel, frames, seeds)
        return {"mel": mel, "frames": frames} | owner

    def _vary(self, wave: np.ndarray, clip: int, seed: int) -> np.ndarray:
        """A random gain and a small shift in time; samples beyond an end are lost, so no clip gets longer."""
        import numpy as np

        gain, time = 2 * np.random.default_rng([seed, 0]).random(2) - 1
        shift = round(time * min(SHIFT_SECONDS * self.rate, len(wave) / 10))
        moved = np.concatenate([np.zeros(shift, np.float32), wave])[:clip] if shift > 0 else wave[-shift:]
        return moved * np.float32(10 ** (gain * GAIN_DB / 20))

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """Random weights, or those of the file `weights`."""
        from bindspace.modules.trunks import load_weights
        from bindspace_audio.encoder import SpectrogramConv, SpectrogramVit

        check_model(self.modality, self.trunk, self.model)
        frames = 1 + round(self.clip_seconds * self.rate) // self.hop
        if self.trunk is Trunk.timm:
            return self._timm(frames, pretrained)
        encoder: nn.Module
        if self.trunk is Trunk.conv:
            encoder = SpectrogramConv(self.channels, self.depth, self.width)
        else:
            encoder = SpectrogramVit(self.mels, frames, self.patch, self.width, self.layers, self.heads)
        if pretrained and self.weights is not None:
            load_weights(encoder, self.weights)
        return encoder

    def _timm(self, frames: int, pretrained: bool) -> nn.Module:
        """timm's network on the spectrogram as a grey picture; the space records its width."""
        from bindspace_audio.timm_encoder import CELL, SpectrogramTimm

        encoder = SpectrogramTimm(self.model, 1, (self.mels, -(-frames // CELL) * CELL))
        self.width = encoder.width
        if pretrained:
            encoder.start(self.weights)
        return encoder

    def example(self, rng: np.random.Generator, concept: int) -> tuple[bytes, dict[str, Any]]:
        """A WAV file of struck tones: the concept determines their pitch and their rate."""
        import numpy as np
        import soundfile

        rate = 16000
        time = np.arange(round(rng.uniform(0.8, 1.6) * rate)) / rate
        pitch = 200 * 1.35**concept * rng.uniform(0.99, 1.01)
        since_strike = (time + rng.uniform(0, 1)) % (1 / (2 + 3 * (concept % 3)))
        wave = sum(np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6.3)) / k for k in (1, 2, 3))
        wave = 0.2 * rng.uniform(0.5, 1.5) * wave * np.exp(-8 * since_strike) + 0.003 * rng.standard_normal(len(time))
        file = io.BytesIO()
        soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
        return file.getvalue(), {}

    def play(self, sample: np.ndarray) -> tuple[bytes, str]:
        """The first ten seconds as MP3, which every browser plays."""
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, sample[: 10 * self.rate], self.rate, format="MP3")
        return file.getvalue(), "audio/mpeg"

    def cues(self, sample: np.ndarray) -> dict[str, float]:
        """Seconds, and loudness in dB below full scale."""
        import numpy as np

        power = float(np.square(sample, dtype=np.float64).mean())
        return {"duration": len(sample) / self.rate, "loudness": 10 * np.log10(power + 1e-12)}

    def fingerprint(self, sample: np.ndarray) -> bytes | None:
        """Of power by band and time: the same for another format, rate or loudness of the whole sound."""
        from bindspace.io.fingerprints import sound_hash

        return sound_hash(sample, self.rate)

    def show(self, sample: np.ndarray) -> Image:
        """The log-mel spectrogram, low bands below, quiet dark and loud bright."""
        import numpy as np
        import torch
        from PIL import Image

        from bindspace_audio.encoder import log_mel

        spectrogram = log_mel(self.rate, self.window, self.fft, self.hop, self.mels)
        mel, _ = spectrogram(torch.from_numpy(sample)[None], torch.tensor([len(sample)]))
        level = (mel[0, 0].flip(0).numpy() + 2) / 4.5
        colours = np.stack([level * 1.6, level**2 * 1.2, 0.35 + 0.5 * np.sin(3 * level)], axis=-1)
        pixels = (255 * colours.clip(0, 1)).astype(np.uint8)
        return Image.fromarray(pixels).resize((min(4 * pixels.shape[1], 1200), 4 * self.mels))

"""Audio for ImageBind: clips of two seconds at 16 kHz as log-mel spectrograms of 128 bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace_imagebind.base import ImagebindConfig

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

    from bindspace_imagebind.towers import Shape, Trunk

GRID, STRIDE = (12, 19), 10  # patches over bands and frames, which overlap


@dataclass(kw_only=True)
class AudioImagebindConfig(ImagebindConfig):
    """A sample is (channels, n) float32 at 16 kHz; a batch `inputs` (R, 1, 128, 204)."""

    modality: ClassVar[str] = "audio"
    expects: ClassVar[str] = (
        "a WAV, FLAC, OGG or MP3 file of any rate and of 25 ms or more, or an array (n,) or (n, channels) within -1..1"
        " with its `rate` in Hz; neither silent nor damaged"
    )
    scale: ClassVar[float | None] = 20.0
    near: ClassVar[int] = 40  # of 256 bits, as in bindspace's own audio

    drop_path: float = 0.1
    clips: int = 3  # of a longer sound in evaluation, evenly spread

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """All channels (channels, n) at 16 kHz; of a file, only the fragment `t` is decoded."""
        from bindspace.io.sounds import read_sound, resampled
        from bindspace_imagebind.mel import RATE, WINDOW

        sound, rate = read_sound(source, info, WINDOW / RATE)
        return sound.T if rate == RATE else resampled(sound.T.copy(), rate, RATE)

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`inputs` (R, 1, 128, 204): log-mel power of the first channel, normalised.

        Evaluation covers a sound of more than two seconds by `clips`, with `owner`. Training takes one clip; `strong`
        also masks up to 12 bands (Girdhar et al. 2023, table 9).
        """
        import torch

        from bindspace.io.sequences import check_augment
        from bindspace_imagebind import mel

        check_augment(augment)
        if self.reference and seeds is None:
            rows = [clip for sample in samples for clip in mel.overlapping_clips(sample, self.clips)]
            return {"inputs": mel.spectrograms(rows).unflatten(0, (len(samples), self.clips))}
        clips = [mel.clips(s, self.clips, None if seeds is None else seeds[i]) for i, s in enumerate(samples)]
        inputs = {"inputs": mel.spectrograms([clip for found in clips for clip in found])}
        if seeds is not None and augment == "strong":
            mel.mask_bands(inputs["inputs"], seeds)
        counts = [len(found) for found in clips]
        if max(counts) > 1:
            inputs["owner"] = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        return inputs

    def tower(self, shape: Shape) -> Trunk:
        """A vision transformer over overlapping patches of the spectrogram."""
        from bindspace_imagebind.towers import GridTower

        return GridTower(shape, GRID, STRIDE)

    def fingerprint(self, sample: np.ndarray) -> bytes | None:
        """As bindspace's own audio makes it, of all channels together."""
        from bindspace_imagebind.mel import RATE

        return self.plain(rate=RATE).fingerprint(sample.mean(0))

    def show(self, sample: np.ndarray) -> Image:
        """The log-mel spectrogram of all channels together, as bindspace's own audio shows it."""
        from bindspace_imagebind.mel import RATE

        return self.plain(rate=RATE).show(sample.mean(0))

"""What `prepare` makes of samples, against the official preprocessing."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from imagebind_golden import HERE, numbers

from bindspace.contract.errors import UserError
from bindspace.io.sounds import resampled
from bindspace_imagebind import mel, pixels, tokenizer, video
from bindspace_imagebind.audio import AudioImagebindConfig
from bindspace_imagebind.image import ImageImagebindConfig
from bindspace_imagebind.imu import ImuImagebindConfig
from bindspace_imagebind.maps import DepthImagebindConfig, ThermalImagebindConfig
from bindspace_imagebind.text import TextImagebindConfig

TOKENS = json.loads((HERE / "tokens.json").read_text())
NOTES = json.loads((HERE / "preproc.json").read_text())
CLOSE = 1e-4  # of spectrograms: float32 Fourier transforms of other libraries differ by as much


def wave(count: int, rate: int, low: float, rise: float, loud: float, seed: int, offset: float) -> np.ndarray:
    """A tone, a sweep, noise and an offset: float32 (count,)."""
    t = np.arange(count) / rate
    tone = loud * np.sin(2 * np.pi * low * t) + 0.5 * loud * np.sin(2 * np.pi * (200 * t + 0.5 * rise * t * t))
    return (tone + 0.05 * np.random.default_rng(seed).standard_normal(count) + offset).astype(np.float32)


STEREO = [(132300, 44100, 440, 300, 0.3, 2003, 0.05), (132300, 44100, 700, 500, 0.3, 2004, -0.02)]
SOUNDS = {
    "A_mono16k_5.3s": lambda: wave(84800, 16000, 440, 300, 0.4, 2001, 0.01)[None],
    "B_mono16k_10s": lambda: wave(160000, 16000, 1000, 600, 0.4, 2002, 0)[None],
    "C_stereo44k1_3s": lambda: resampled(np.stack([wave(*each) for each in STEREO]), 44100, 16000),
    "D_mono16k_1.2s": lambda: wave(19200, 16000, 440, 300, 0.4, 2005, 0)[None],
    "E_silence16k_2.5s": lambda: np.zeros((1, 40000), np.float32),
    "F_mono16k_7.123s": lambda: wave(113968, 16000, 440, 300, 0.4, 2006, 0)[None],
}


def picture(height: int, width: int) -> np.ndarray:
    """Red rises to the right, green downwards, blue is a chequered pattern."""
    y, x = np.mgrid[0:height, 0:width]
    blue = 255 * ((x // 7 + y // 5) % 2)
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), blue], axis=-1).astype(np.uint8)


def frames(count: int = 100) -> np.ndarray:
    """Frames (count, 120, 160, 3) of a moving pattern."""
    t, y, x = np.mgrid[0:count, 0:120, 0:160]
    blue = 200 * ((x // 8 + y // 8 + t) % 2)
    return np.stack([(x + 2 * t) % 256, (2 * y + t) % 256, blue], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("text", TOKENS)
def test_texts_have_the_official_ids(text):
    expected = torch.zeros(77, dtype=torch.int64)
    expected[: len(TOKENS[text])] = torch.tensor(TOKENS[text])
    assert torch.equal(tokenizer.tokenize([text])[0], expected)
    if text.strip():
        sample = TextImagebindConfig().read(text, {})
        assert torch.equal(TextImagebindConfig().prepare([sample])["inputs"][0], expected)


def test_the_tokenizer_is_built_once(monkeypatch):
    tokenizer.tokenize(["a dog"])
    monkeypatch.setattr(tokenizer.gzip, "decompress", lambda data: pytest.fail("the table was read again"))
    assert tokenizer.tokenize(["a dog", "a cat"]).shape == (2, 77)


def test_without_open_clip_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(tokenizer, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the vocabulary of open_clip: pip install 'bindspace\[clip\]'"):
        tokenizer._tokenizer.__wrapped__()


@pytest.mark.parametrize("name", SOUNDS)
def test_the_reference_makes_the_official_spectrograms(name):
    got = AudioImagebindConfig(reference=True).prepare([SOUNDS[name]()])["inputs"]
    wanted = numbers("preproc")[f"audio.{name}"]
    assert got.shape == (1, 3, 1, 128, 204)
    assert (got[0, : len(wanted) if wanted.ndim == 4 else 1, :, ::4, ::3] - wanted).abs().max() <= CLOSE


@pytest.mark.parametrize("name", ["A_mono16k_5.3s", "C_stereo44k1_3s"])
def test_overlapping_clips_do_not_disturb_each_other(name):
    batch = AudioImagebindConfig().prepare([SOUNDS[name]()])
    wanted, disturbed = (numbers("preproc")[f"audio.{name}{end}"] for end in (".copied", ""))
    assert (batch["inputs"][..., ::4, ::3] - wanted).abs().max() <= CLOSE
    assert (batch["inputs"][..., ::4, ::3] - disturbed).abs().max() > 0.1
    assert batch["owner"].tolist() == [0, 0, 0]


def test_the_sound_that_is_read_is_not_changed():
    sample = SOUNDS["A_mono16k_5.3s"]()
    for config in (AudioImagebindConfig(), AudioImagebindConfig(reference=True)):
        config.prepare([sample])
    np.testing.assert_array_equal(sample, SOUNDS["A_mono16k_5.3s"]())


def test_a_spectrogram_is_kaldis():
    sound = torch.from_numpy(wave(32000, 16000, 440, 300, 0.4, 2007, 0.01))[None]
    wanted = numbers("preproc")["audio.log_mel"]
    for precision in (torch.float32, torch.float64):
        assert (mel.log_mel(sound.to(precision), torch.tensor([32000])) - wanted).abs().max() <= 9.138 * CLOSE


def test_resampling_is_the_official_one():
    got = resampled(np.stack([wave(*each) for each in STEREO]), 44100, 16000)
    assert got.shape == (2, 48000)
    assert np.abs(got[:, :2000] - numbers("preproc")["audio.C_resampled_head"].numpy()).max() < 1e-5


@pytest.mark.parametrize("case", NOTES["clip_starts"])
def test_clips_begin_at_the_official_samples(case):
    seconds, count = case.removesuffix("_").split("s_")
    total = round(float(seconds) * 16000)
    assert [int(start * 16000) for start in video.clip_starts(total / 16000, 2.0, int(count))] == (
        NOTES["clip_starts"][case]
    )


def test_a_short_sound_is_one_clip_and_the_official_three_are_equal():
    config, sample = AudioImagebindConfig(), SOUNDS["D_mono16k_1.2s"]()
    batch, official = config.prepare([sample]), AudioImagebindConfig(reference=True).prepare([sample])["inputs"]
    assert set(batch) == {"inputs"}
    assert (official[0] - batch["inputs"]).abs().max() < CLOSE


def test_a_training_clip_depends_on_its_seed_alone_and_strong_masks_bands():
    config, sounds = AudioImagebindConfig(), [SOUNDS["B_mono16k_10s"](), SOUNDS["F_mono16k_7.123s"]()]
    weak = config.prepare(sounds, seeds=[3, 4])
    assert set(weak) == {"inputs"}
    assert torch.equal(weak["inputs"][1:], config.prepare(sounds[1:], seeds=[4])["inputs"])
    assert not torch.equal(weak["inputs"], config.prepare(sounds, seeds=[5, 6])["inputs"])
    strong = config.prepare(sounds, seeds=[3, 4], augment="strong")["inputs"]
    masked = (strong == 0).all(3)[:, 0]
    assert (masked.sum(1) <= 12).all()
    assert masked.any()
    assert torch.equal(strong[~masked[:, None]], weak["inputs"][~masked[:, None]])


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 333), (100, 160), (224, 224)])
def test_pictures_have_the_official_values(height, width):
    got = ImageImagebindConfig().prepare([picture(height, width)])["inputs"][0]
    assert torch.equal(got[:, ::8, ::8], numbers("preproc")[f"image.{height}x{width}.sub8"])


def test_pictures_are_cut_and_resized_to_the_official_8_bits():
    got = np.ascontiguousarray(pixels.centre(picture(300, 400), 224).transpose(2, 0, 1))
    assert hashlib.sha256(got.tobytes()).hexdigest() == NOTES["image.300x400.u8.sha256"]


def test_videos_have_the_official_frames_crops_and_values():
    wanted = [(0, 19), (20, 39), (40, 59), (60, 79), (80, 99)]
    assert video.frames_of_clips(100, Fraction(10), 2.0, 5) == wanted
    seen = frames()
    sample = np.stack([seen[list(pair)] for pair in wanted])
    batch = ImageImagebindConfig().prepare([sample])
    assert batch["inputs"].shape == (15, 3, 2, 224, 224)
    assert (batch["inputs"][..., ::16, ::16] - numbers("preproc")["video.sub16"]).abs().max() < 2e-6
    means = batch["inputs"].mean((1, 2, 3, 4))
    torch.testing.assert_close(means, torch.tensor(NOTES["video.mean_per_clip_crop"]), atol=1e-6, rtol=0)
    official = ImageImagebindConfig(reference=True).prepare([sample])["inputs"]
    assert torch.equal(official[0], batch["inputs"])


def test_a_tall_video_is_cut_from_top_to_bottom():
    sample = np.arange(320, dtype=np.uint8)[None, None, :, None, None].repeat(2, 1) + np.zeros(
        (1, 1, 1, 224, 3), np.uint8
    )
    tops = pixels.evaluation_views(sample, 224)[:, 0, 0, 0, 0]
    steps = ((tops - tops[0]) * pixels.STD[0] * 255).round().tolist()
    assert steps == [0, 48, 96]


def test_pictures_and_videos_share_a_batch():
    config, sample = ImageImagebindConfig(), np.stack([frames(40)[[0, 19]]])
    batch = config.prepare([picture(60, 80), sample])
    assert batch["inputs"].shape == (4, 3, 2, 224, 224)
    assert batch["owner"].tolist() == [0, 1, 1, 1]
    assert torch.equal(batch["inputs"][0, :, 0], batch["inputs"][0, :, 1])
    with pytest.raises(UserError, match="pictures or videos, not both in one batch"):
        ImageImagebindConfig(reference=True).prepare([picture(60, 80), sample])


def test_training_sees_one_clip_of_a_video_and_a_view_that_the_seed_decides():
    config = ImageImagebindConfig(image_size=56)
    sample = np.stack([frames(40)[[0, 19]], frames(40)[[20, 39]]])
    batch = config.prepare([picture(60, 80), sample], seeds=[1, 2], augment="strong")
    assert batch.keys() == {"inputs"}
    assert batch["inputs"].shape == (2, 3, 2, 56, 56)
    assert torch.equal(
        batch["inputs"], config.prepare([picture(60, 80), sample], seeds=[1, 2], augment="strong")["inputs"]
    )
    with pytest.raises(UserError, match="image_size: expected a multiple of 14, got 60"):
        ImageImagebindConfig(image_size=60).prepare([picture(60, 80)])


def test_depth_becomes_the_disparity_of_omnivore():
    metres = np.full((240, 320), 2.0, np.float32)
    metres[:, :160] = 0  # lost
    sample = DepthImagebindConfig().read(metres, {"unit": "m", "baseline": 0.1, "focal": 500})
    assert sample[0, 300] == pytest.approx((0.1 * 500 / 2 / 75 - 0.0418) / 0.0295, rel=1e-6)
    assert (sample[:, :160] == 0).all()
    batch = DepthImagebindConfig().prepare([sample])
    assert batch["inputs"].shape == (1, 1, 224, 224)
    near = DepthImagebindConfig().read(np.full((8, 8), 60, np.uint16), {})
    assert near[0, 0] == pytest.approx((1 - 0.0418) / 0.0295)  # 649 pixels are cut to 75


def test_a_map_of_sun_rgbd_has_its_bits_put_back():
    millimetres = np.array([[1500, 9000]], np.uint16)
    rotated = (millimetres << 3) | (millimetres >> 13)
    sample = DepthImagebindConfig().read(rotated, {"sunrgbd": True})
    wanted = DepthImagebindConfig().read(np.array([[1500, 8000]], np.uint16), {})
    np.testing.assert_array_equal(sample, wanted)


def test_thermal_is_brightness():
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sample = ThermalImagebindConfig().read(stored, {})
    np.testing.assert_array_equal(sample, stored.astype(np.float32) / 255)
    kelvin = ThermalImagebindConfig().read(np.linspace(290, 310, 10000).reshape(100, 100), {})
    assert kelvin.min() == 0
    assert kelvin.max() == 1
    assert kelvin[50, 0] == pytest.approx(0.5, abs=0.01)
    assert ThermalImagebindConfig().prepare([sample])["inputs"].shape == (1, 1, 224, 224)


def test_imu_rows_hold_five_seconds_channel_by_channel():
    signal = np.arange(6 * 400 * 12, dtype=np.float32).reshape(-1, 6)
    batch = ImuImagebindConfig().prepare([signal[:1000], signal])
    assert batch["inputs"].shape == (4, 6, 2000)
    assert batch["owner"].tolist() == [0, 1, 1, 1]
    assert torch.equal(batch["inputs"][0, :, :1000], torch.from_numpy(signal[:1000].T))
    assert not batch["inputs"][0, :, 1000:].any()
    assert torch.equal(batch["inputs"][1], torch.from_numpy(signal[:2000].T))


@pytest.mark.parametrize(
    ("config", "sample"),
    [
        (AudioImagebindConfig(), SOUNDS["D_mono16k_1.2s"]()),
        (ImageImagebindConfig(), picture(60, 80)),
        (DepthImagebindConfig(), np.zeros((60, 80), np.float32)),
        (ImuImagebindConfig(), np.zeros((100, 6), np.float32)),
        (TextImagebindConfig(), "a dog"),
    ],
)
def test_unknown_augmentation_is_refused(config, sample):
    with pytest.raises(UserError, match="unknown augment 'wekae'"):
        config.prepare([sample], seeds=[0], augment="wekae")

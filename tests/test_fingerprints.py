"""Robust hashes: what a copy may change of a picture or a sound, and what makes it another one."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from bindspace.benchmark.near_duplicates import distances
from bindspace.contract import registry
from bindspace.io.fingerprints import field_hash, picture_hash, sound_hash
from bindspace.io.sounds import resampled

RATE = 16000


def bits(a: bytes, b: bytes) -> int:
    """In how many bits they differ."""
    return int(distances(*(np.frombuffer(each, np.uint8)[None] for each in (a, b)))[0, 0])


def at_most(name: str) -> int:
    """How many bits the plugin of that name takes for one content."""
    return registry.load(name).near


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Tones that begin and end, one after the other."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    wave = 0.002 * rng.standard_normal(len(time))
    for start in np.arange(0, seconds, 0.25):
        within = (time >= start) & (time < start + 0.2)
        wave[within] += rng.uniform(0.05, 0.3) * np.sin(2 * np.pi * rng.uniform(200, 3000) * time[within])
    return wave.astype(np.float32)


def scene(seed: int = 0) -> np.ndarray:
    """A picture (96, 128, 3) of random patches."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    return np.asarray(small.resize((128, 96), Image.Resampling.BICUBIC))


def test_bits_are_counted_by_hand():
    a, b = np.array([[0b1010, 255]], np.uint8), np.array([[0b0110, 255], [0b1010, 0]], np.uint8)
    assert distances(a, b).tolist() == [[2, 8]]


def test_a_hash_says_which_frequencies_are_above_the_median():
    """A grid of one frequency each way has a single large coefficient; the constant 1 gives the first."""
    across = np.cos(np.pi / 32 * 3 * (np.arange(32) + 0.5))
    first = np.unpackbits(np.frombuffer(field_hash(1 + np.outer(np.ones(32), across)), np.uint8)).reshape(16, 16)
    assert first[0, 0] == first[0, 3] == 1
    falling = np.unpackbits(np.frombuffer(field_hash(1 - np.outer(np.ones(32), across)), np.uint8)).reshape(16, 16)
    assert (falling[0, 0], falling[0, 3]) == (1, 0)


@pytest.mark.parametrize("seed", range(3))
def test_brightness_contrast_size_and_quality_change_few_bits_and_another_picture_half_of_them(seed):
    picture, file = scene(seed), io.BytesIO()
    Image.fromarray(picture).resize((180, 140)).point(lambda value: 0.7 * value + 30).save(file, "JPEG", quality=60)
    copy = np.asarray(Image.open(file).convert("RGB"))
    assert bits(picture_hash(picture), picture_hash(copy)) <= at_most("image") / 2
    assert bits(picture_hash(picture), picture_hash(scene(seed + 10))) > 2 * at_most("image")


@pytest.mark.parametrize("seconds", [0.03, 0.5, 3.0, 90.0])
def test_rate_level_and_format_change_few_bits_however_long_a_sound_is(seconds):
    wave, file = speech_like(seconds), io.BytesIO()
    soundfile.write(file, 0.3 * resampled(wave, RATE, 22050), 22050, format="OGG")
    copy = registry.load("audio")().read(file.getvalue(), {})
    assert bits(sound_hash(wave, RATE), sound_hash(copy, RATE)) <= at_most("audio")
    assert bits(sound_hash(wave, RATE), sound_hash(speech_like(max(seconds, 0.5), 1), RATE)) > at_most("audio")


def test_parts_and_mirror_images_are_not_found():
    """As the documentation says."""
    wave, picture = speech_like(4.0), scene()
    assert bits(sound_hash(wave, RATE), sound_hash(wave[: 2 * RATE], RATE)) > at_most("audio")
    assert bits(picture_hash(picture), picture_hash(picture[:, ::-1])) > at_most("image")
    assert bits(picture_hash(picture), picture_hash(picture[:60, :80])) > at_most("image")


def test_where_there_is_nothing_to_see_or_to_hear_there_is_no_hash():
    assert picture_hash(np.full((40, 50, 3), 200, np.uint8)) is None
    assert sound_hash(np.zeros(RATE, np.float32), RATE) is None
    assert sound_hash(np.sin(np.arange(300) / 5).astype(np.float32), RATE) is not None  # shorter than a frame


def test_other_implementations_of_a_modality_hash_as_the_first_one_does():
    wave, picture = speech_like(1.0), scene()
    for name, sample, expected in (
        ("audio", wave, sound_hash(wave, RATE)),
        ("audio_imagebind", wave[None], sound_hash(wave, RATE)),
        ("image", picture, picture_hash(picture)),
        ("image_imagebind", picture, picture_hash(picture)),
        ("image_openclip", picture, picture_hash(picture)),
    ):
        config = registry.load(name)()
        assert config.fingerprint(sample) == expected, name
        assert config.near == at_most(config.modality), name
    assert registry.load("image_imagebind")().fingerprint(np.stack([np.stack([picture] * 2)])) is None  # a video

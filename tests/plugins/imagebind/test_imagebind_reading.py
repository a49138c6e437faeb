"""What the six implementations read, what they refuse, and that bindspace's machinery takes them."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from imagebind_golden import small_configs
from PIL import Image

from bindspace import BadSample, Head
from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace.space.space import Space
from bindspace_imagebind import video
from bindspace_imagebind.format import CONFIGS

NAMES = list(CONFIGS)


def encoded(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Three seconds at 10 frames a second, each a little brighter than the one before it."""
    import av

    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        for index in range(30):
            picture = np.full((48, 64, 3), 20 + 6 * index, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def shown(sample: np.ndarray) -> list[list[int]]:
    """Which frames of the film a sample holds."""
    return [[round((float(frame.mean()) - 20) / 6) for frame in clip] for clip in sample]


def test_each_is_registered_and_read_from_a_file_of_its_own_kind():
    for name, kind in CONFIGS.items():
        assert registry.load(f"{name}_imagebind") is kind
        assert kind.modality == name


@pytest.mark.parametrize("name", NAMES)
def test_an_example_goes_through_a_space_alone_and_in_a_batch(name, tmp_path):
    config = small_configs()[name]
    torch.manual_seed(0)
    space = Space({name: config}, 64, name).eval()
    sources = [config.example(np.random.default_rng(i), i) for i in range(3)]
    together = space.embed(**{name: sources})[name]
    alone = torch.cat([space.embed(**{name: [source]})[name] for source in sources])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-4
    assert config.show(config.read(*sources[0])).width > 0
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("name", NAMES)
def test_a_space_is_saved_and_loaded_to_the_bit(name, tmp_path):
    from bindspace.space.bundle import load, save

    config = small_configs()[name]
    space = Space({name: config}, 64, name).eval()
    again = load(save(space, tmp_path / "space"))
    assert again.configs == space.configs
    sources = [config.example(np.random.default_rng(0), 3)]
    assert torch.equal(again.embed(**{name: sources})[name], space.embed(**{name: sources})[name])


def test_an_identity_head_fixes_the_dimension_and_another_one_can_be_chosen():
    config = replace(small_configs()["depth"])
    with pytest.raises(ValueError, match="needs a tower of the space's dim 128, got width 64: set dim=64"):
        Space({"depth": config}, 128, "depth")
    assert Space({"depth": replace(config, head=Head.linear)}, 128, "depth").embed(depth=[]) is not None


def test_large_pictures_stay_whole_since_the_official_code_resizes_once(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (1400, 1500, 3), np.uint8)
    sample = CONFIGS["image"]().read(encoded(picture), {})
    np.testing.assert_array_equal(sample, picture)


def test_a_film_gives_two_frames_of_each_clip(film):
    config = CONFIGS["image"](clips=2)
    assert shown(config.read(film, {})) == [[0, 19], [10, 29]]
    np.testing.assert_array_equal(config.read(film.read_bytes(), {}), config.read(film, {}))
    assert shown(CONFIGS["image"]().read(film, {}))[1:3] == [[3, 22], [5, 24]]


def test_of_a_fragment_nothing_else_is_looked_at(film):
    config = CONFIGS["image"](clips=2, clip_seconds=0.5)
    assert shown(config.read(film, {"t": (1.0, 2.0)})) == [[10, 14], [15, 19]]
    assert shown(config.read(film, {"t": (2.9, float("inf"))})) == [[29, 29], [29, 29]]
    with pytest.raises(BadSample, match=r"a fragment within the video, got one from 5 s of 3 s"):
        config.read(film, {"t": (5.0, 6.0)})


def test_films_that_are_damaged_are_refused(film, tmp_path):
    data = film.read_bytes()
    config = CONFIGS["image"]()
    for broken in (data[: len(data) // 2], data[:40]):
        with pytest.raises(BadSample, match="expected a whole video file, got one that does not decode"):
            config.read(broken, {})
    sound = tmp_path / "sound.mkv"
    import av

    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadSample, match="got a file without a picture track: give its sound to audio"):
        config.read(sound, {})


def test_without_pyav_a_film_names_the_extra(film, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r"reading a video needs PyAV: pip install 'bindspace\[video\]'"):
        CONFIGS["image"]().read(film, {})


def test_pictures_in_the_container_of_films_are_pictures():
    for brand in (b"avif", b"heic", b"mif1"):
        assert not video.is_video(b"\0\0\0\x20ftyp" + brand)
    assert not video.is_video(b"RIFF\0\0\0\0WEBP")
    assert video.is_video(b"\0\0\0\x20ftypisom")
    assert video.is_video(b"RIFF\0\0\0\0AVI ")
    assert not video.is_video(Path("/nowhere/film.mp4"))


def test_sound_keeps_its_channels_at_16_khz():
    buffer = io.BytesIO()
    left, right = np.sin(np.arange(44100) / 20), np.zeros(44100)
    soundfile.write(buffer, np.stack([left, right], axis=1) * 0.5, 44100, format="WAV")
    sample = CONFIGS["audio"]().read(buffer.getvalue(), {})
    assert sample.shape == (2, 16000)
    assert sample.dtype == np.float32
    assert not sample[1].any()
    with pytest.raises(BadSample, match=r"expected at least 0\.025 s of sound, got 0\.02 s"):
        CONFIGS["audio"]().read(np.full(320, 0.5), {"rate": 16000})


def test_grey_pictures_in_colour_files_are_thermal_and_palettes_are_not():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(2, 0).repeat(2, 1)
    grey = np.stack([ramp] * 3, axis=-1)
    config = CONFIGS["thermal"]()
    np.testing.assert_allclose(config.read(encoded(grey), {}), config.read(encoded(ramp), {}), atol=1 / 255)
    assert config.read(encoded(grey, "JPEG", quality=95), {}).shape == (32, 32)
    with pytest.raises(BadSample, match="expected a grey picture, got colours: a palette is not a measurement"):
        config.read(encoded(np.stack([ramp, ramp[::-1], ramp], axis=-1)), {})
    with pytest.raises(BadSample, match="got 1 that are NaN or infinite"):
        config.read(np.array([[1.0, np.nan]]), {})


@pytest.mark.parametrize(
    ("name", "source", "info", "message"),
    [
        ("image", b"no picture", {}, "expected a picture"),
        ("text", "  ", {}, "expected at least one word, got an empty text"),
        ("audio", np.zeros(16000), {"rate": 16000}, "got digital silence"),
        ("depth", np.full((4, 4), 5, np.uint8), {}, "expected depth in 16 bits or more"),
        ("depth", np.full((4, 4), 900, np.uint16), {"focal": "wide"}, "`depth.focal` to be a number above 0"),
        ("depth", np.full((4, 4), 900, np.uint16), {"baseline": -1}, "`depth.baseline` to be a number above 0, got -1"),
        ("depth", np.full((4, 4), 2.0), {"sunrgbd": True}, "expected 16 bits in a map of SUN RGB-D, got float64"),
        ("imu", np.zeros((6, 100)), {"rate": 400}, "expected six channels"),
        ("imu", np.ones((100, 6)).cumsum(0) / 10, {}, "expected a sampling rate, got none"),
    ],
)  # fmt: skip
def test_what_breaks_the_promise_is_refused_with_the_reason(name, source, info, message):
    with pytest.raises(BadSample, match=message):
        CONFIGS[name]().read(source, info)

"""The audio plugin: every format and rate, every bad file of the issue, and a vector that padding cannot change."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from bindspace import BadSample
from bindspace.space.space import read_item
from bindspace_audio import AudioConfig, Trunk

FORMATS = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}


def tone(seconds=1.0, rate=16000, pitch=440.0, level=0.3):
    return (level * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def file_of(wave, rate=16000, kind="WAV", subtype=None):
    target = io.BytesIO()
    soundfile.write(target, wave, rate, format=kind, subtype=subtype or FORMATS[kind])
    return target.getvalue()


def pitch_of(wave, rate=16000):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return spectrum.argmax() * rate / len(wave)


def sounds(*seconds):
    rng = np.random.default_rng(0)
    return [
        (tone(s, pitch=300 + 500 * i) + 0.01 * rng.standard_normal(round(s * 16000))).astype(np.float32)
        for i, s in enumerate(seconds)
    ]


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return AudioConfig().encoder(pretrained=False).eval()


# --- reading ----------------------------------------------------------------------------------------------------------


def test_importing_the_plugin_imports_no_torch_and_no_numpy():
    code = "import sys, bindspace_audio; print({'torch', 'numpy', 'soundfile'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_and_rate_keeps_the_pitch(tmp_path, kind, rate):
    path = tmp_path / f"tone.{kind.lower()}"
    path.write_bytes(file_of(np.stack([tone(rate=rate)] * 2, axis=1), rate, kind))
    wave = AudioConfig().read(path, {})
    assert wave.dtype == np.float32
    assert abs(len(wave) - 16000) <= 1
    assert abs(pitch_of(wave) - 440) <= 1
    assert 0.25 < np.abs(wave[2000:-2000]).max() < 0.35


@pytest.mark.parametrize("rate", [11025, 48000, 96000, 44099])
def test_an_odd_rate_is_resampled_without_aliases(rate):
    high = tone(rate=rate, pitch=0.45 * rate) if rate > 32000 else 0
    wave = AudioConfig().read(file_of(tone(rate=rate) + high, rate), {})
    assert abs(pitch_of(wave) - 440) <= 2
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert spectrum[2000:].max() < 0.01 * spectrum.max()


def test_channels_are_averaged():
    stereo = np.stack([tone(), np.zeros(16000, np.float32)], axis=1)
    np.testing.assert_allclose(AudioConfig().read(file_of(stereo, subtype="FLOAT"), {}), tone() / 2, atol=1e-6)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_fragment_is_what_a_cut_of_the_whole_file_would_be(kind):
    chirp = np.sin(np.cumsum(np.linspace(0.05, 1.0, 48000))).astype(np.float32) / 2
    content, config = file_of(chirp, kind=kind), AudioConfig()
    whole, part = config.read(content, {}), config.read(content, {"t": (1.0, 1.5)})
    assert len(part) == 8000
    np.testing.assert_allclose(part, whole[16000:24000], atol=1e-3)


def test_a_fragment_may_be_open_or_end_behind_the_end():
    content, config = file_of(tone(2.0)), AudioConfig()
    assert len(config.read(content, {"t": (1.5, float("inf"))})) == 8000
    assert len(config.read(content, {"t": (1.5, 9.0)})) == 8000
    with pytest.raises(BadSample, match="expected a fragment within the sound, got one from 2 s of 2 s"):
        config.read(content, {"t": (2.0, 3.0)})


def test_arrays_and_tensors_need_their_rate():
    config = AudioConfig()
    expected = config.read(file_of(tone(), subtype="FLOAT"), {})
    for array in (tone(), torch.from_numpy(tone()), tone()[:, None], tone().astype(np.float64)):
        np.testing.assert_array_equal(config.read(array, {"rate": 16000}), expected)
    integers = np.rint(tone() * 32768).astype(np.int16)
    np.testing.assert_allclose(config.read(integers, {"rate": 16000}), tone(), atol=2e-5)
    with pytest.raises(BadSample, match="expected the rate of an array of samples, got none: give `rate` in Hz"):
        config.read(tone(), {})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((2, 16000), np.float32),
            r"expected samples first, \(n, channels\), got shape \(2, 16000\): transpose",
        ),
        (np.zeros(9, np.uint8), r"int16 or int32 of shape \(n,\) or \(n, channels\), got uint8 \(9,\)"),
        (np.zeros((4, 4, 4)), r"got float64 \(4, 4, 4\)"),
        (np.zeros(0), r"got float64 \(0,\)"),
        (30000 * tone(), r"expected samples within -1..1, got a peak of 9e\+03: divide integer samples"),
    ],
)
def test_an_array_in_another_layout_or_range_is_refused(array, message):
    with pytest.raises(BadSample, match=message):
        AudioConfig().read(array, {"rate": 16000})


@pytest.mark.parametrize("rate", [0, -1, "fast", 44.1, None, float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(BadSample, match="expected a rate of 1000 to 400000 Hz in whole Hz, got"):
        AudioConfig().read(tone(), {"rate": rate})


def test_a_rate_column_that_contradicts_the_file_is_refused():
    assert len(AudioConfig().read(file_of(tone()), {"rate": "16000"})) == 16000
    with pytest.raises(BadSample, match="expected 44100 Hz as `rate` says, got a file of 16000 Hz: correct or remove"):
        AudioConfig().read(file_of(tone()), {"rate": 44100})


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.02, 0.001])
def test_a_truncated_file_is_named_with_the_next_step(tmp_path, kind, share, capfd):
    content = file_of(tone(3.0), kind=kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(content[: max(1, int(share * len(content)))])
    with pytest.raises(BadSample, match=r"expected a whole .*got (a truncated one|one that does not decode)"):
        AudioConfig().read(path, {})


def test_a_file_cut_within_an_ogg_page_is_refused_too():
    content = file_of(tone(3.0), kind="OGG")
    for missing in (1, 10, 100):
        with pytest.raises(BadSample, match="its last page is missing"):
            AudioConfig().read(content[:-missing], {})


def test_a_wav_header_written_before_its_size_was_known_is_no_truncation():
    content = bytearray(file_of(tone()))
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    assert len(AudioConfig().read(bytes(content), {})) == 16000


def test_a_wav_with_further_chunks_is_read():
    content = file_of(tone())
    at = content.index(b"data")
    note = b"note" + (3).to_bytes(4, "little") + b"abc\0"
    longer = content[:4] + (len(content) + len(note) - 8).to_bytes(4, "little") + content[8:at] + note + content[at:]
    assert len(AudioConfig().read(longer, {})) == 16000


def test_an_audio_file_of_5_ms_is_refused():
    with pytest.raises(BadSample, match=r"expected at least 0.02 s of sound, got 0.005 s: lower `min_seconds`"):
        AudioConfig().read(file_of(tone(0.005)), {})
    assert len(AudioConfig(min_seconds=0.001).read(file_of(tone(0.005)), {})) == 80


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_digital_silence_is_refused(kind):
    with pytest.raises(BadSample, match="expected sound, got digital silence for 1 s: leave the cell out"):
        AudioConfig().read(file_of(np.zeros(16000), kind=kind), {})


def test_a_very_quiet_recording_is_no_silence():
    assert len(AudioConfig().read(file_of(tone(level=1e-4), subtype="FLOAT"), {})) == 16000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sound_that_is_not_finite_is_refused_with_the_sample(value):
    wave = tone()
    wave[77] = value
    with pytest.raises(BadSample, match="expected finite samples, got NaN or infinity at sample 77"):
        AudioConfig().read(file_of(wave, subtype="FLOAT"), {})


@pytest.mark.parametrize("content", [b"not a sound, but a text of some length" * 9, b"RIFF", b"OggS", b"\0" * 4000])
def test_other_bytes_are_refused(tmp_path, content):
    for name in ("sound.wav", "sound.mp3", "sound.raw", "sound"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadSample, match="expected a whole"):
            AudioConfig().read(tmp_path / name, {})


def test_an_empty_file_and_a_missing_one_are_named(tmp_path):
    with pytest.raises(BadSample, match="expected a sound file, got 0 bytes"):
        AudioConfig().read(b"", {})
    with pytest.raises(ValueError, match=r"audio\[3\] .*nowhere.wav.*No such file"):
        read_item(AudioConfig(), str(tmp_path / "nowhere.wav"), 3)


# --- preparing --------------------------------------------------------------------------------------------------------


def test_frames_say_how_much_is_sound_and_the_rest_is_zero():
    batch = AudioConfig().prepare(sounds(0.5, 2.0))
    assert batch["mel"].shape == (2, 1, 64, 101)
    assert batch["frames"].tolist() == [26, 101]
    assert not batch["mel"][0, ..., 26:].any()
    assert "owner" not in batch


def test_a_tone_lights_the_band_of_its_pitch():
    mel = AudioConfig().prepare([tone(pitch=p) for p in (300, 1000, 4000)])["mel"]
    bands = mel[:, 0].mean(-1).argmax(-1).tolist()
    assert bands == sorted(bands)
    assert bands[0] < 15 < bands[1] < 30 < 40 < bands[2]


def test_log_mel_is_that_of_torchaudio():
    from torchaudio.transforms import MelSpectrogram

    (wave,) = sounds(1.0)
    reference = MelSpectrogram(16000, 512, 512, 320, f_min=20.0, n_mels=64, pad_mode="constant")(torch.from_numpy(wave))
    torch.testing.assert_close(
        AudioConfig().prepare([wave])["mel"][0, 0], (torch.log(reference + 1e-6) + 4) / 4.5, rtol=0, atol=1e-4
    )


def test_a_long_file_gives_several_clips_with_their_owner():
    batch = AudioConfig().prepare(sounds(1.0, 3.0, 9.0))
    assert batch["owner"].tolist() == [0, 1, 1, 2, 2, 2]
    assert batch["frames"].tolist() == [51, 101, 101, 101, 101, 101]
    assert "owner" not in AudioConfig(clips=1).prepare(sounds(1.0, 3.0, 9.0))


def test_training_takes_one_crop_of_a_long_file():
    batch = AudioConfig().prepare(sounds(1.0, 9.0), seeds=[1, 2])
    assert "owner" not in batch
    assert len(batch["mel"]) == 2


@pytest.mark.parametrize("augment", ["none", "weak", "strong"])
def test_training_varies_by_the_seed_only(augment):
    config, waves = AudioConfig(), sounds(5.0)
    drawn = [config.prepare(waves, seeds=[seed], augment=augment)["mel"] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert drawn[0].shape != drawn[2].shape or not torch.equal(drawn[0], drawn[2])


def test_a_row_does_not_depend_on_its_neighbours_in_training():
    config, waves = AudioConfig(), sounds(1.0, 1.8, 5.0)
    together = config.prepare(waves, seeds=[4, 5, 6], augment="strong")
    alone = config.prepare(waves[:1], seeds=[4], augment="strong")
    frames = int(alone["frames"])
    torch.testing.assert_close(together["mel"][:1, ..., :frames], alone["mel"][..., :frames])


def test_weak_augmentation_changes_gain_within_6_db():
    config, waves = AudioConfig(), [tone(1.0)]
    plain = config.prepare(waves)["mel"].max() * 4.5
    decibels = [float(config.prepare(waves, seeds=[s])["mel"].max() * 4.5 - plain) * 4.343 for s in range(60)]
    assert -6.1 < min(decibels) < -4
    assert 4 < max(decibels) < 6.1


def test_strong_augmentation_masks_bands_and_spans():
    config = AudioConfig()
    mel = torch.cat([config.prepare(sounds(2.0), seeds=[s], augment="strong")["mel"][..., :90] for s in range(8)])[:, 0]
    assert (mel == 0).all(dim=2).any()
    assert (mel == 0).all(dim=1).any()
    assert (mel == 0).float().mean() < 0.6


def test_evaluation_is_deterministic():
    assert torch.equal(AudioConfig().prepare(sounds(7.0))["mel"], AudioConfig().prepare(sounds(7.0))["mel"])


# --- encoding ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_padding_changes_nothing(encoder):
    batch = AudioConfig().prepare(sounds(0.3, 0.9))
    short = encoder(batch["mel"][..., :51], batch["frames"])
    noise = torch.randn(2, 1, 64, 40)
    longer = encoder(torch.cat([batch["mel"], noise], dim=-1), batch["frames"])
    torch.testing.assert_close(short, longer, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_batch_gives_the_vectors_of_its_items(encoder):
    config, waves = AudioConfig(), sounds(0.05, 0.4, 1.3, 2.0)
    together = encoder(**config.prepare(waves))
    alone = torch.cat([encoder(**config.prepare([wave])) for wave in waves])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.cdist(together, together)[0, 1:].min() > 1e-3


@torch.no_grad()
def test_the_vit_gives_the_vectors_of_its_items_too():
    config = AudioConfig(trunk=Trunk.vit, mels=32, patch=16, layers=2, heads=2, width=32)
    vit, waves = config.encoder(pretrained=False).eval(), sounds(0.05, 0.4, 2.0)
    together = vit(**config.prepare(waves))
    alone = torch.cat([vit(**config.prepare([wave])) for wave in waves])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_single_tensor_will_do_where_all_of_it_is_sound(encoder):
    batch = AudioConfig().prepare(sounds(1.0, 1.0))
    torch.testing.assert_close(encoder(batch["mel"]), encoder(**batch))


@pytest.mark.parametrize("settings", [{}, {"trunk": Trunk.vit, "layers": 2, "heads": 2, "width": 32, "mels": 32}])
def test_gradients_reach_every_parameter(settings):
    config = AudioConfig(**settings)
    trunk = config.encoder(pretrained=False)
    (trunk(**config.prepare(sounds(0.7, 2.0))) * torch.randn(config.width)).sum().backward()
    assert [name for name, p in trunk.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("settings", [AudioConfig.sizes["small"], AudioConfig.sizes["base"] | {"layers": 1}])
def test_every_size_encodes_without_a_warning(settings):
    config = AudioConfig(**settings)
    trunk = config.encoder(pretrained=False)
    assert trunk(**config.prepare(sounds(0.2))).shape == (1, config.width)
    assert len(trunk.blocks) in (1, 4)


def test_weights_of_a_file_are_loaded_only_where_asked(tmp_path, encoder):
    torch.save(encoder.state_dict(), tmp_path / "audio.pt")
    config = AudioConfig(weights=str(tmp_path / "audio.pt"))
    assert torch.equal(config.encoder(pretrained=True).stem.weight, encoder.stem.weight)
    assert not torch.equal(config.encoder(pretrained=False).stem.weight, encoder.stem.weight)


def test_examples_are_read_and_tell_ten_concepts_apart():
    config, rng = AudioConfig(), np.random.default_rng(0)
    waves = [config.read(*config.example(rng, concept)) for concept in range(10)]
    pitches = [pitch_of(wave) for wave in waves]
    assert pitches == sorted(pitches)
    picture = config.show(waves[3])
    assert picture.height == 4 * config.mels
    assert len(picture.getcolors(picture.width * picture.height)) > 100


# --- only what is needed is read


class Counted(io.FileIO):
    """A file that counts the bytes that are read from it."""

    total = 0

    def readinto(self, buffer):
        count = super().readinto(buffer)
        Counted.total += count
        return count

    def read(self, size=-1):
        data = super().read(size)
        Counted.total += len(data)
        return data


@pytest.mark.parametrize(("form", "share"), [("WAV", 0.05), ("FLAC", 0.12)])
def test_of_a_long_file_little_more_than_the_fragment_is_read(tmp_path, monkeypatch, form, share):
    path = tmp_path / f"long.{form.lower()}"
    wave = 0.1 * np.random.default_rng(0).standard_normal(60 * 16000)
    soundfile.write(path, wave, 16000, format=form, subtype="PCM_16")
    monkeypatch.setattr(Path, "open", lambda self, mode="r": Counted(self, mode))
    resampled = []
    monkeypatch.setattr("bindspace.io.sounds.resampled", lambda wave, *_: resampled.append(len(wave)) or wave)
    Counted.total = 0
    sample = AudioConfig(rate=8000).read(path, {"t": (30.0, 32.0)})
    assert len(sample) == 2 * 16000
    assert Counted.total < share * path.stat().st_size
    assert resampled == [2 * 16000]

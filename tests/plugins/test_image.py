"""The image plugin: real files in, what it refuses, and what training and evaluation see."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from bindspace import BadSample
from bindspace.modules.picture_config import Trunk
from bindspace_image import MEAN, STD, ImageConfig

CONFIG = ImageConfig()


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth colour picture (lossy formats keep it), different in each corner."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 255 / height, x * 255 / width, 120 + 0 * x], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(array: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write: (H, W, 3) uint16."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width, _ = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def examples(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [CONFIG.read(*CONFIG.example(rng, i % 10)) for i in range(count)]


@pytest.mark.parametrize(
    ("kind", "options", "close"), [("PNG", {}, 0), ("JPEG", {"quality": 95}, 6), ("WEBP", {"quality": 95}, 12)]
)
def test_a_file_and_its_bytes_read_as_the_picture_they_hold(
    tmp_path: Path, kind: str, options: dict, close: int
) -> None:
    data = encoded(Image.fromarray(picture()), kind, **options)
    path = tmp_path / "file.of-any-name"
    path.write_bytes(data)
    for source in (path, data):
        sample = CONFIG.read(source, {})
        assert sample.dtype == np.uint8
        assert sample.shape == (48, 64, 3)
        assert np.abs(sample.astype(int) - picture()).max() <= close


def test_arrays_tensors_and_pictures_in_memory_read_as_they_are() -> None:
    for source in (picture(), torch.from_numpy(picture()), Image.fromarray(picture())):
        np.testing.assert_array_equal(CONFIG.read(source, {}), picture())


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_grey_palette_and_print_pictures_become_rgb(mode: str) -> None:
    stored = Image.fromarray(picture()).convert(mode)
    source = encoded(stored, "TIFF" if mode == "CMYK" else "PNG")
    np.testing.assert_array_equal(CONFIG.read(source, {}), np.asarray(stored.convert("RGB")))


def test_exif_orientation_is_applied_and_the_callers_picture_left_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # was taken with the camera on its side: turn it clockwise
    source = encoded(Image.fromarray(picture()), "PNG", exif=exif)
    np.testing.assert_array_equal(CONFIG.read(source, {}), np.rot90(picture(), -1))
    in_memory = Image.open(io.BytesIO(source))
    np.testing.assert_array_equal(CONFIG.read(in_memory, {}), np.rot90(picture(), -1))
    assert in_memory.size == (64, 48)


def test_opaque_alpha_is_dropped_and_real_transparency_refused_with_the_setting_that_allows_it() -> None:
    alpha = np.full((48, 64, 1), 255, np.uint8)
    opaque = encoded(Image.fromarray(np.concatenate([picture(), alpha], axis=2)), "PNG")
    np.testing.assert_array_equal(CONFIG.read(opaque, {}), picture())
    alpha[:, :32] = 0
    source = encoded(Image.fromarray(np.concatenate([picture(), alpha], axis=2)), "PNG")
    with pytest.raises(
        BadSample, match=r"opaque picture, got a transparent one.*read: \{image: \{background: white\}\}"
    ):
        CONFIG.read(source, {})
    white = CONFIG.read(source, {"background": "white"})
    assert (white[:, :32] == 255).all()
    np.testing.assert_array_equal(white[:, 32:], picture()[:, 32:])
    with pytest.raises(BadSample, match=r"to be a colour, e\.g\. white or '#808080', got 'whit'"):
        CONFIG.read(source, {"background": "whit"})


def test_a_palette_with_a_transparent_entry_is_transparent() -> None:
    stored = Image.fromarray(picture()).convert("P")
    with pytest.raises(BadSample, match="transparent"):
        CONFIG.read(encoded(stored, "PNG", transparency=stored.getpixel((0, 0))), {})


@pytest.mark.parametrize(
    "source",
    [
        png16(picture().astype(np.uint16) * 257),
        encoded(Image.fromarray(picture()[:, :, 0].astype(np.uint16) * 257), "PNG"),
    ],
    ids=["colour", "grey"],
)
def test_16_bits_are_refused_with_the_setting_that_allows_them(source: bytes) -> None:
    with pytest.raises(BadSample, match=r"expected 8 bits per channel, got 16: .*read: \{image: \{bits16: scale\}\}"):
        CONFIG.read(source, {})
    with pytest.raises(BadSample, match="got 16 and bits16: clip"):
        CONFIG.read(source, {"bits16": "clip"})
    np.testing.assert_array_equal(CONFIG.read(source, {"bits16": "scale"})[:, :, 0], picture()[:, :, 0])


def test_a_float_picture_is_refused() -> None:
    with pytest.raises(BadSample, match="expected 8 bits per channel, got 32"):
        CONFIG.read(encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), {"bits16": "scale"})


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_file_is_named_as_such(kind: str) -> None:
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)), kind)
    with pytest.raises(BadSample, match="expected a whole picture, got a damaged or truncated file"):
        CONFIG.read(data[: len(data) // 2], {})


def test_empty_missing_and_foreign_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(BadSample, match="got 0 bytes"):
        CONFIG.read(empty, {})
    with pytest.raises(BadSample, match=r"none at .*gone.jpg"):
        CONFIG.read(tmp_path / "gone.jpg", {})
    with pytest.raises(BadSample, match=r"expected a picture, got 11 bytes that begin with b'<html>no"):
        CONFIG.read(b"<html>no...", {})


def test_a_picture_of_absurd_size_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side in (40, 60):  # more than the limit, and more than twice
        with pytest.raises(BadSample, match="expected at most 1000 pixels"):
            CONFIG.read(encoded(Image.fromarray(picture(side, side)), "PNG"), {})


@pytest.mark.parametrize(
    "array", [np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)]
)
def test_nothing_is_guessed_from_the_rank_of_an_array(array: np.ndarray) -> None:
    with pytest.raises(BadSample, match=r"expected an array \(H, W, 3\) of uint8, got"):
        CONFIG.read(array, {})


def test_xywh_cuts_pixels_and_clips_to_the_picture() -> None:
    np.testing.assert_array_equal(CONFIG.read(picture(), {"xywh": (10.0, 5.0, 20.0, 8.0)}), picture()[5:13, 10:30])
    np.testing.assert_array_equal(CONFIG.read(picture(), {"xywh": (60.0, 40.0, 99.0, 99.0)}), picture()[40:, 60:])
    with pytest.raises(BadSample, match="got 64,0,5,5 of 64 x 48 pixels"):
        CONFIG.read(picture(), {"xywh": (64.0, 0.0, 5.0, 5.0)})


def test_a_large_photograph_is_kept_smaller_but_never_below_what_the_encoder_sees() -> None:
    sample = CONFIG.read(picture(600, 800), {})
    assert sample.shape == (200, 267, 3)
    assert CONFIG.read(picture(380, 800), {}).shape == (380, 800, 3)


def test_a_square_of_the_right_size_is_left_untouched_in_evaluation() -> None:
    samples = [picture(64, 64), np.ascontiguousarray(picture(64, 64)[::-1])]
    pixels = CONFIG.prepare(samples)["pixels"]
    back = pixels * 255 * torch.tensor(STD)[:, None, None] + 255 * torch.tensor(MEAN)[:, None, None]
    torch.testing.assert_close(back, torch.tensor(np.stack(samples)).permute(0, 3, 1, 2).float(), atol=1e-3, rtol=0)
    np.testing.assert_array_equal(back.round().byte().permute(0, 2, 3, 1).numpy(), np.stack(samples))


def test_evaluation_resizes_the_short_side_and_cuts_the_centre() -> None:
    red = np.zeros((128, 256, 3), np.uint8)
    red[:, 64:192] = [255, 0, 0]
    pixels = CONFIG.prepare([red])["pixels"]
    assert pixels.shape == (1, 3, 64, 64)
    torch.testing.assert_close(pixels[0, 0, :, 2:-2], torch.full((64, 60), (1 - MEAN[0]) / STD[0]))


def test_evaluation_is_deterministic_and_does_not_depend_on_the_batch() -> None:
    samples = [*examples(5), picture(80, 70), picture(20, 30)]
    together = CONFIG.prepare(samples)["pixels"]
    alone = torch.cat([CONFIG.prepare([sample])["pixels"] for sample in samples])
    torch.testing.assert_close(together, alone, atol=0, rtol=0)
    encoder = CONFIG.encoder(pretrained=False).eval()
    with torch.inference_mode():
        rows = torch.cat([encoder(row[None]) for row in together])
        torch.testing.assert_close(encoder(together), rows, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("augment", ["weak", "strong"])
def test_training_varies_by_seed_and_by_nothing_else(augment: str) -> None:
    samples = [*examples(3), picture(80, 70)]
    first = CONFIG.prepare(samples, seeds=[1, 2, 3, 4], augment=augment)["pixels"]
    assert torch.equal(first, CONFIG.prepare(samples, seeds=[1, 2, 3, 4], augment=augment)["pixels"])
    alone = CONFIG.prepare(samples[2:3], seeds=[3], augment=augment)["pixels"]
    torch.testing.assert_close(first[2:3], alone, atol=1e-6, rtol=1e-5)
    other = CONFIG.prepare(samples, seeds=[5, 6, 7, 8], augment=augment)["pixels"]
    assert all((first[i] - other[i]).abs().max() > 0.05 for i in range(4))


def test_augment_none_is_what_evaluation_sees() -> None:
    samples = examples(3)
    plain = CONFIG.prepare(samples, seeds=[1, 2, 3], augment="none")["pixels"]
    assert torch.equal(plain, CONFIG.prepare(samples)["pixels"])


def test_weak_jitter_keeps_the_colours_apart() -> None:
    flat = [np.full((64, 64, 3), colour, np.uint8) for colour in ([200, 40, 40], [40, 200, 40])] * 50
    means = CONFIG.prepare(flat, seeds=range(100), augment="weak")["pixels"].mean((2, 3))
    red, green = means[::2], means[1::2]
    assert (red[:, 0] > red[:, 1]).all()
    assert (green[:, 1] > green[:, 0]).all()
    assert red[:, 0].std() > 0.03


def test_the_tiny_encoder_is_small_and_every_parameter_learns() -> None:
    encoder = CONFIG.encoder(pretrained=False)
    assert 0.8e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 1.0e6
    features = encoder(**CONFIG.prepare(examples(4), seeds=[1, 2, 3, 4]))
    assert features.shape == (4, CONFIG.width)
    features.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())
    assert len(encoder.blocks) == 1


def test_size_small_is_a_vit_whose_every_parameter_learns() -> None:
    config = ImageConfig(**CONFIG.sizes["small"])
    encoder = config.encoder(pretrained=False)
    assert 5e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 6e6
    batch = config.prepare(examples(2))
    encoder(**batch).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())
    assert len(encoder.blocks) == 12
    assert encoder.tokens(**batch).shape == (2, 65, config.width)


def test_the_preset_is_a_vit_b_16_made_of_settings_that_exist() -> None:
    import bindspace_image

    path = Path(bindspace_image.__file__).parent / "conf/modality/image_vit.yaml"
    assert path.read_text().startswith("# @package modality.image\n")
    preset = dict(OmegaConf.load(path))
    assert preset.pop("defaults") == ["image", "_self_"]
    config = ImageConfig(**{**preset, "trunk": Trunk(preset["trunk"])})
    assert {name: getattr(config, name) for name in CONFIG.sizes["base"]} == CONFIG.sizes["base"]
    with torch.device("meta"):
        encoder = config.encoder(pretrained=False)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == pytest.approx(85.8e6, rel=0.01)


def test_examples_tell_concepts_apart_and_can_be_looked_at() -> None:
    first, again = (
        [CONFIG.read(*CONFIG.example(np.random.default_rng(seed), i)) for i in range(10)] for seed in (0, 1)
    )
    a, b = (CONFIG.prepare(samples)["pixels"].flatten(2) for samples in (first, again))
    a, b = ((rows - rows.median(2, keepdim=True).values).flatten(1) for rows in (a, b))  # the wall is nuisance
    assert torch.cdist(a, b).argmin(dim=1).tolist() == list(range(10))
    assert CONFIG.show(first[0]).size == (64, 64)


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, bindspace_image; print({'torch', 'numpy', 'PIL', 'timm'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"

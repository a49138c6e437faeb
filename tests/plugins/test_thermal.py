"""The thermal plugin: temperatures that survive, raw counts that are only relative, and what is no temperature."""

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
from bindspace_thermal import ThermalConfig, Unit

CONFIG = ThermalConfig()


def celsius() -> np.ndarray:
    """A wall from 10 to 60 degrees C, left to right."""
    return np.repeat(np.linspace(10, 60, 32, dtype=np.float32)[None], 32, axis=0)


def encoded(array: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "NPY":
        np.save(buffer, array)
    else:
        Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def examples(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [CONFIG.read(*CONFIG.example(rng, i % 10)) for i in range(count)]


@pytest.mark.parametrize(
    ("kind", "stored", "unit"),
    [
        ("PNG", (100 * (celsius() + 273.15)).round().astype(np.uint16), "centikelvin"),
        ("TIFF", (100 * (celsius() + 273.15)).round().astype(np.uint16), "centikelvin"),
        ("TIFF", celsius() + np.float32(273.15), "kelvin"),
        ("NPY", celsius(), "celsius"),
        ("PNG", celsius().round().astype(np.uint8), "celsius"),
    ],
)
def test_each_format_and_unit_reads_as_the_same_warmth(
    tmp_path: Path, kind: str, stored: np.ndarray, unit: str
) -> None:
    path = tmp_path / "thermal.of-any-name"
    path.write_bytes(encoded(stored, kind))
    for source in (path, path.read_bytes(), stored):
        sample = CONFIG.read(source, {"unit": unit})
        assert sample.dtype == np.float32
        np.testing.assert_allclose(25 * sample + 20, celsius(), atol=0.51 if stored.dtype == np.uint8 else 0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_raw_counts_are_standardised_within_the_picture(dtype: type) -> None:
    counts = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (32, 32)).astype(dtype)
    sample = CONFIG.read(encoded(counts, "PNG"), {"unit": "raw"})
    assert sample.mean() == pytest.approx(0, abs=1e-5)
    assert sample.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(sample, CONFIG.read(counts.astype(np.float32) * 3 + 7, {"unit": "raw"}), atol=1e-5)
    assert (CONFIG.read(np.full((4, 4), 9, dtype), {"unit": "raw"}) == 0).all()


def test_the_row_says_the_unit_else_the_setting_does() -> None:
    sample = ThermalConfig(unit=Unit.celsius).read(celsius(), {})
    np.testing.assert_array_equal(sample, CONFIG.read(celsius(), {"unit": "celsius"}))


def test_absolute_temperature_survives_and_fire_is_clipped() -> None:
    cold, hot, fire = (
        CONFIG.read(np.full((32, 32), degrees, np.float32), {"unit": "celsius"}) for degrees in (-5, 45, 900)
    )
    pixels = CONFIG.prepare([cold, hot, fire])["pixels"]
    assert pixels.shape == (3, 2, 32, 32)
    assert [row[0].unique().tolist() for row in pixels] == [[-1.0], [1.0], [8.0]]
    assert pixels[:, 1].abs().max() < 1e-3  # what is warm throughout has no relief


def test_temperatures_in_the_wrong_unit_are_refused_with_both_sides_and_the_setting() -> None:
    choices = "set `thermal.unit` to one of kelvin, celsius, centikelvin, raw"
    with pytest.raises(
        BadSample, match=rf"within -80..1500 degrees C, got -273.05..-272.55 by reading .* in centikelvin: {choices}"
    ):
        CONFIG.read(celsius(), {})
    with pytest.raises(BadSample, match=r"got 28315..33315 by reading the values in celsius"):
        CONFIG.read((100 * (celsius() + 273.15)).astype(np.uint16), {"unit": "celsius"})


def test_an_unknown_unit_is_answered_with_the_choices() -> None:
    with pytest.raises(
        BadSample, match=r"unknown unit of temperature 'kelvn': did you mean 'kelvin'\? \(available: celsius, "
    ):
        CONFIG.read(celsius(), {"unit": "kelvn"})


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (encoded(np.full((8, 8, 3), 200, np.uint8), "PNG"), "got a picture in RGB: colours are not measurements"),
        (np.where(np.eye(8) > 0, np.nan, 20.0), "a finite value per pixel, got 8 that are NaN or infinite"),
        (np.ones((1, 8, 8), np.uint16), r"got an array of shape \(1, 8, 8\)"),
        (b"", "got 0 bytes"),
        (encoded(np.ones((99, 99), np.uint16), "PNG")[:60], "damaged or truncated"),
    ],
)
def test_what_is_no_thermal_map_is_refused_with_the_reason(source: object, reason: str) -> None:
    with pytest.raises(BadSample, match=reason):
        CONFIG.read(source, {"unit": "celsius"})


def test_raw_grey_may_have_been_saved_in_colour_but_a_palette_is_refused() -> None:
    counts = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None], 32, axis=0)
    wanted = CONFIG.read(counts, {"unit": "raw"})
    grey = np.stack([counts] * 3, axis=-1)
    np.testing.assert_allclose(CONFIG.read(encoded(grey, "PNG"), {"unit": "raw"}), wanted, atol=0.02)
    with pytest.raises(BadSample, match="expected a grey picture, got colours: a palette is not a measurement"):
        CONFIG.read(encoded(np.stack([counts, counts[:, ::-1], counts], axis=-1), "PNG"), {"unit": "raw"})


def test_xywh_cuts_before_the_checks() -> None:
    degrees = celsius()
    degrees[:, 16:] = 5000  # the logo of the camera's maker, say
    sample = CONFIG.read(degrees, {"unit": "celsius", "xywh": (0.0, 0.0, 16.0, 32.0)})
    assert sample.shape == (32, 16)


def test_evaluation_is_deterministic_and_does_not_depend_on_the_batch() -> None:
    large = np.repeat(np.repeat(examples(1)[0], 3, axis=0), 2, axis=1)
    samples = [*examples(4), large, large[:20, :24]]
    together = CONFIG.prepare(samples)["pixels"]
    assert torch.equal(together, torch.cat([CONFIG.prepare([sample])["pixels"] for sample in samples]))
    torch.testing.assert_close(together[:4, 0], torch.from_numpy(np.stack(samples[:4])), atol=0, rtol=0)
    encoder = CONFIG.encoder(pretrained=False).eval()
    with torch.inference_mode():
        rows = torch.cat([encoder(row[None]) for row in together])
        torch.testing.assert_close(encoder(together), rows, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("augment", ["weak", "strong"])
def test_training_varies_by_seed_and_by_nothing_else(augment: str) -> None:
    first = CONFIG.prepare(examples(4), seeds=[1, 2, 3, 4], augment=augment)["pixels"]
    assert torch.equal(first, CONFIG.prepare(examples(4), seeds=[1, 2, 3, 4], augment=augment)["pixels"])
    assert torch.equal(first[2:3], CONFIG.prepare(examples(4)[2:3], seeds=[3], augment=augment)["pixels"])
    other = CONFIG.prepare(examples(4), seeds=[5, 6, 7, 8], augment=augment)["pixels"]
    assert (first - other).abs().max() > 0.5


def test_the_tiny_encoder_is_small_and_every_parameter_learns() -> None:
    encoder = CONFIG.encoder(pretrained=False)
    assert 0.7e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 0.8e6
    features = encoder(**CONFIG.prepare(examples(4), seeds=[1, 2, 3, 4]))
    assert features.shape == (4, CONFIG.width)
    features.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_size_small_and_the_preset_are_vits_made_of_settings_that_exist() -> None:
    import bindspace_thermal

    small = ThermalConfig(**CONFIG.sizes["small"])
    with torch.inference_mode():
        assert small.encoder(pretrained=False)(**small.prepare(examples(2))).shape == (2, small.width)
    path = Path(bindspace_thermal.__file__).parent / "conf/modality/thermal_vit.yaml"
    assert path.read_text().startswith("# @package modality.thermal\n")
    preset = dict(OmegaConf.load(path))
    assert preset.pop("defaults") == ["thermal", "_self_"]
    config = ThermalConfig(**{**preset, "trunk": Trunk(preset["trunk"])})
    assert {name: getattr(config, name) for name in CONFIG.sizes["base"]} == CONFIG.sizes["base"]


def test_examples_tell_concepts_apart_and_can_be_looked_at() -> None:
    first, again = (
        [CONFIG.read(*CONFIG.example(np.random.default_rng(seed), i)) for i in range(10)] for seed in (0, 1)
    )
    a, b = (CONFIG.prepare(samples)["pixels"].flatten(1) for samples in (first, again))
    a, b = (rows - rows.median(1, keepdim=True).values for rows in (a, b))  # how warm the wall is, is nuisance
    assert torch.cdist(a, b).argmin(dim=1).tolist() == list(range(10))
    shown = CONFIG.show(first[0])
    assert shown.size == (32, 32)
    assert shown.mode == "RGB"


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, bindspace_thermal; print({'torch', 'numpy', 'PIL', 'timm'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"

"""The depth plugin: files in metres or less, what is no depth, and the same cut as the picture of the event."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from bindspace import BadSample
from bindspace.modules.picture_config import Trunk
from bindspace_depth import DepthConfig, Unit
from bindspace_image import ImageConfig
from bindspace_thermal import ThermalConfig

CONFIG = DepthConfig()


def metres(height: int = 48, width: int = 48) -> np.ndarray:
    """A floor that rises from 4 m to 1 m, each row at its own depth."""
    return np.repeat(np.linspace(4, 1, height, dtype=np.float32)[:, None], width, axis=1)


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
        ("PNG", (metres() * 1000).round().astype(np.uint16), "mm"),
        ("TIFF", (metres() * 1000).round().astype(np.uint16), "mm"),
        ("TIFF", metres() * 100, "cm"),
        ("NPY", metres(), "m"),
        ("NPY", metres().astype(np.float16) * np.float16(100), "cm"),
        ("NPY", (metres() * 1000).round().astype(np.int64), "mm"),
    ],
)
def test_each_format_and_unit_reads_as_the_same_metres(
    tmp_path: Path, kind: str, stored: np.ndarray, unit: str
) -> None:
    path = tmp_path / "depth.of-any-name"
    path.write_bytes(encoded(stored, kind))
    for source in (path, path.read_bytes(), stored):
        sample = CONFIG.read(source, {"unit": unit})
        assert sample.dtype == np.float32
        np.testing.assert_allclose(sample, metres(), atol=3e-3)  # float16 is as coarse


def test_the_row_says_the_unit_else_the_setting_does() -> None:
    millimetres = (metres() * 1000).astype(np.uint16)
    assert np.median(CONFIG.read(millimetres, {})) == pytest.approx(2.5, abs=0.01)
    assert np.median(DepthConfig(unit=Unit.cm).read(millimetres, {})) == pytest.approx(25, abs=0.1)
    assert np.median(DepthConfig(unit=Unit.m).read(millimetres, {"unit": "mm"})) == pytest.approx(2.5, abs=0.01)


def test_depth_in_the_wrong_unit_is_refused_with_both_sides_and_the_setting() -> None:
    with pytest.raises(
        BadSample, match=r"within 0.05..200 m, got 0.0025 m .* values in mm: set `depth.unit` to one of m, cm, mm"
    ):
        CONFIG.read(metres(), {})
    with pytest.raises(BadSample, match=r"within 0.05..200 m, got 2500 m .* in m: set `depth.unit`"):
        CONFIG.read((metres() * 1000).astype(np.uint16), {"unit": "m"})


def test_an_unknown_unit_is_answered_with_the_choices() -> None:
    with pytest.raises(BadSample, match=r"unknown unit of depth 'mmm': did you mean 'mm'\? \(available: cm, m, mm\)"):
        CONFIG.read(metres(), {"unit": "mmm"})


def test_a_map_of_sun_rgbd_has_its_bits_put_back_and_is_cut_at_eight_metres() -> None:
    millimetres = np.array([[600, 1501, 7999, 9000, 0]], np.uint16)
    rotated = (millimetres << 3) | (millimetres >> 13)
    sample = CONFIG.read(rotated, {"sunrgbd": True, "unit": "m"})
    np.testing.assert_allclose(sample, [[0.6, 1.501, 7.999, 8.0, np.nan]], rtol=1e-6)
    with pytest.raises(BadSample, match="expected 16 bits in a map of SUN RGB-D, got uint8: leave `sunrgbd` out"):
        CONFIG.read(rotated.astype(np.uint8), {"sunrgbd": True})


def test_invalid_values_become_nan_and_are_masked() -> None:
    stored = metres()
    stored[:6] = 0
    stored[6:12] = np.nan
    stored[12:18] = np.inf
    stored[18:24] = 65.535
    sample = CONFIG.read(stored, {"unit": "m", "invalid": [0, np.float32(65.535)]})
    assert np.isnan(sample[:24]).all()
    assert np.isfinite(sample[24:]).all()
    relief, level, mask = CONFIG.prepare([sample])["pixels"][0]
    assert (level[:24] == 0).all()
    assert (relief[:24] == 0).all()
    assert (mask[:24] == 0).all()
    assert (mask[24:] == 1).all()
    torch.testing.assert_close(level[24:], torch.log(torch.from_numpy(metres()[24:])) - 1, atol=1e-6, rtol=0)


def test_what_is_invalid_can_be_said_by_the_row_or_the_setting() -> None:
    stored = (metres() * 1000).astype(np.uint16)
    stored[:4] = 65535
    for sample in (CONFIG.read(stored, {"invalid": "65535"}), DepthConfig(invalid=[0, 65535]).read(stored, {})):
        assert np.isnan(sample).sum() == 4 * 48
    with pytest.raises(BadSample, match=r"expected `depth.invalid` to be a number or a list of numbers, got 'none'"):
        CONFIG.read(stored, {"invalid": "none"})


def test_a_mostly_empty_map_and_negative_depths_are_refused() -> None:
    stored = metres()
    stored[4:] = 0
    with pytest.raises(BadSample, match=r"at least 10% of the pixels valid, got 8.3%"):
        CONFIG.read(stored, {"unit": "m"})
    stored = metres()
    stored[0, 0] = -1
    with pytest.raises(BadSample, match=r"above 0, got -1 m: name values of lost pixels in `depth.invalid`"):
        CONFIG.read(stored, {"unit": "m"})
    assert np.isnan(CONFIG.read(stored, {"unit": "m", "invalid": -1})[0, 0])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (encoded(np.full((8, 8), 200, np.uint8), "PNG"), "16 bits or more, got 8-bit values"),
        (encoded(np.full((8, 8, 3), 200, np.uint8), "PNG"), "one measured value per pixel, got a picture in RGB"),
        (np.ones((8, 8, 1), np.float32), r"one value per pixel \(H, W\), got an array of shape \(8, 8, 1\)"),
        (np.ones((8, 8), bool), "integers or floats, got bool"),
        (b"", "got 0 bytes"),
        (encoded(np.ones((8, 8), np.float32), "NPY")[:150], "whole NPY array of numbers, got a damaged file"),
        (encoded(np.ones((99, 99), np.uint16), "PNG")[:60], "damaged or truncated"),
        (b"depth,depth", "expected a picture, got 11 bytes"),
    ],
)
def test_what_is_no_depth_map_is_refused_with_the_reason(source: object, reason: str) -> None:
    with pytest.raises(BadSample, match=reason):
        CONFIG.read(source, {})


def test_an_npy_of_objects_runs_nothing() -> None:
    with pytest.raises(BadSample, match="NPY array of numbers"):
        CONFIG.read(encoded(np.array([[{"a": 1}]], dtype=object), "NPY"), {})


def test_relief_is_the_shape_whatever_the_distance_and_a_flat_wall_has_none() -> None:
    near, far, wall = metres(), 10 * metres(), np.random.default_rng(0).normal(3, 0.003, (48, 48))
    relief, level, _ = CONFIG.prepare([CONFIG.read(stored, {"unit": "m"}) for stored in (near, far, wall)])[
        "pixels"
    ].unbind(1)
    torch.testing.assert_close(relief[0], relief[1], atol=1e-5, rtol=0)
    assert relief[0].std() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(level[1] - level[0], torch.full((48, 48), np.log(10).item()), atol=1e-5, rtol=0)
    assert relief[2].std() < 0.1


def test_xywh_cuts_before_the_checks() -> None:
    stored = np.zeros((48, 48), np.float32)
    stored[:4, :4] = 2
    assert CONFIG.read(stored, {"unit": "m", "xywh": (0.0, 0.0, 4.0, 4.0)}).shape == (4, 4)


def test_resampling_never_mixes_depths_across_an_edge() -> None:
    stored = np.full((300, 200), 1, np.float32)
    stored[:, 100:] = 5
    for seeds, augment in ((None, "weak"), ([3], "weak"), ([3], "strong")):
        _, level, _ = CONFIG.prepare([CONFIG.read(stored, {"unit": "m"})], seeds=seeds, augment=augment)["pixels"][0]
        near, far = level.unique().tolist()
        assert [near, far] == pytest.approx([-1, np.log(5) - 1])


def test_evaluation_is_deterministic_and_does_not_depend_on_the_batch() -> None:
    samples = [*examples(4), metres(60, 80), metres(30, 20)]
    together = CONFIG.prepare(samples)["pixels"]
    assert together.shape == (6, 3, 48, 48)
    assert torch.equal(together, torch.cat([CONFIG.prepare([sample])["pixels"] for sample in samples]))
    encoder = CONFIG.encoder(pretrained=False).eval()
    with torch.inference_mode():
        rows = torch.cat([encoder(row[None]) for row in together])
        torch.testing.assert_close(encoder(together), rows, atol=1e-6, rtol=1e-6)


def centre(marked: torch.Tensor) -> np.ndarray:
    """Where the marked pixels of a square lie, as (x, y) in fractions of its side."""
    y, x = torch.nonzero(marked, as_tuple=True)
    return np.array([x.float().mean() + 0.5, y.float().mean() + 0.5]) / len(marked)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1), augment=st.sampled_from(["weak", "strong"]), shape=st.sampled_from([(1, 1), (3, 4)])
)
def test_one_seed_cuts_picture_depth_and_heat_of_an_event_alike(
    seed: int, augment: str, shape: tuple[int, int]
) -> None:
    def scene(unit: int) -> np.ndarray:
        """A block in the middle of a picture of (H, W) = shape * unit."""
        height, width = shape[0] * unit, shape[1] * unit
        y, x = np.mgrid[0:height, 0:width]
        return (abs((y + 0.5) / height - 0.5) < 0.125) & (abs((x + 0.5) / width - 0.5) < 0.125)

    pictures = [np.where(scene(64)[:, :, None], 255, 0).astype(np.uint8).repeat(3, 2)]
    depths = [np.where(scene(48), 1, 5).astype(np.float32)]
    heats = [np.where(scene(32), 1, 0).astype(np.float32)]
    pixels = ImageConfig().prepare(pictures, seeds=[seed], augment=augment)["pixels"][0].mean(0)
    depth = CONFIG.prepare(depths, seeds=[seed], augment=augment)["pixels"][0, 1]
    heat = ThermalConfig().prepare(heats, seeds=[seed], augment=augment)["pixels"][0, 0]
    places = centre(pixels > (pixels.max() + pixels.min()) / 2), centre(depth < 0), centre(heat > 0.5)
    sizes = [
        float(marked.float().mean()) for marked in (pixels > (pixels.max() + pixels.min()) / 2, depth < 0, heat > 0.5)
    ]
    assert np.abs(places[0] - places[1]).max() < 1 / 48
    assert np.abs(places[0] - places[2]).max() < 1 / 32
    assert max(sizes) < 1.4 * min(sizes)


def test_augmentation_never_mirrors() -> None:
    for augment in ("weak", "strong"):
        pixels = CONFIG.prepare([metres()] * 50, seeds=range(50), augment=augment)["pixels"][:, 1]
        assert (pixels[:, 0] > pixels[:, -1]).all()


def test_the_tiny_encoder_is_small_and_every_parameter_learns() -> None:
    encoder = CONFIG.encoder(pretrained=False)
    assert 0.7e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 0.8e6
    features = encoder(**CONFIG.prepare(examples(4), seeds=[1, 2, 3, 4]))
    assert features.shape == (4, CONFIG.width)
    features.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_size_small_and_the_preset_are_vits_made_of_settings_that_exist() -> None:
    import bindspace_depth

    small = DepthConfig(**CONFIG.sizes["small"])
    with torch.inference_mode():
        assert small.encoder(pretrained=False)(**small.prepare(examples(2))).shape == (2, small.width)
    path = Path(bindspace_depth.__file__).parent / "conf/modality/depth_vit.yaml"
    assert path.read_text().startswith("# @package modality.depth\n")
    preset = dict(OmegaConf.load(path))
    assert preset.pop("defaults") == ["depth", "_self_"]
    config = DepthConfig(**{**preset, "trunk": Trunk(preset["trunk"])})
    assert {name: getattr(config, name) for name in CONFIG.sizes["base"]} == CONFIG.sizes["base"]


def test_examples_tell_concepts_apart_and_can_be_looked_at() -> None:
    first, again = (
        [CONFIG.read(*CONFIG.example(np.random.default_rng(seed), i)) for i in range(10)] for seed in (0, 1)
    )
    a, b = (CONFIG.prepare(samples)["pixels"][:, 0].flatten(1) for samples in (first, again))
    a, b = (rows - rows.median(1, keepdim=True).values for rows in (a, b))  # how far the wall is, is nuisance
    assert torch.cdist(a, b).argmin(dim=1).tolist() == list(range(10))
    shown = CONFIG.show(first[0])
    assert shown.size == (48, 48)
    assert shown.mode == "RGB"


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, bindspace_depth; print({'torch', 'numpy', 'PIL', 'timm'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"

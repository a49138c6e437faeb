"""A stranger's package, `tests/packages/bindspace_tactile`: built, installed, and used like any other modality."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from importlib import invalidate_caches
from pathlib import Path

import numpy as np
import pytest
import torch

import bindspace
from bindspace import BadSample
from bindspace.cli import main
from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace.ledger.ledger import Ledger
from bindspace.space.space import Space

PROJECT = Path(__file__).parent / "packages" / "bindspace_tactile"
PAGE = Path(__file__).parents[1] / "docs" / "write-a-modality.md"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package as its own pyproject.toml builds it."""
    from hatchling.build import build_wheel

    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        return folder / build_wheel(str(folder))


@pytest.fixture
def site(wheel, tmp_path, monkeypatch):
    """A folder on the path in which the wheel is installed, and nothing else."""
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registry.installed.cache_clear()
    invalidate_caches()
    yield tmp_path / "site"
    sys.modules.pop("bindspace_tactile", None)
    registry.installed.cache_clear()


@pytest.fixture
def tactile(site):
    """The config as the registry finds it."""
    return registry.load("tactile")()


def pressures(frames: int, kind: str = "float32") -> np.ndarray:
    """Rising pressure, another value at each frame."""
    return np.tile(np.arange(frames, dtype=kind)[:, None, None], (1, 16, 16))


def npy(array: np.ndarray) -> bytes:
    """As the bytes of a file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_the_page_quotes_the_package_as_it_is():
    blocks = re.findall(r"^```(?:toml|python)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks[0] == (PROJECT / "pyproject.toml").read_text("utf-8")
    assert blocks[1] == (PROJECT / "bindspace_tactile" / "__init__.py").read_text("utf-8")


def test_the_list_of_plugins_names_the_package(site, capsys):
    assert main(["plugins"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^tactile +tactile +bindspace-tactile +0\.1\.0$", printed, re.MULTILINE)
    assert "does not load" not in printed


def test_listing_it_imports_nothing_slow(site):
    code = "import sys, bindspace_tactile; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=site, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_composes_it_and_the_dial_reaches_it(site, capsys):
    chosen = ["modality=[image,tactile]", "size=base", "modality.tactile.frames=16"]
    assert main(["train", *chosen, "--cfg", "job", "--resolve"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^  tactile:\n    width: 512\n", printed, re.MULTILINE)
    assert re.search(r"^    frames: 16$", printed, re.MULTILINE)
    assert main(["train", "modality=[image,tactile]", "modality.tactile.frame=16"]) == 2
    assert "did you mean 'frames'?" in capsys.readouterr().err


def test_its_examples_are_read_prepared_and_encoded(tactile):
    rng = np.random.default_rng(0)
    samples = [tactile.read(*tactile.example(rng, concept)) for concept in range(10)]
    space = Space({"tactile": tactile}, dim=8, pivot="tactile")
    evaluated = tactile.prepare(samples)
    z = space.encode(tactile=evaluated)["tactile"]
    assert z.shape == (10, 8)
    assert torch.allclose(z.norm(dim=1), torch.ones(10))
    assert len(evaluated["owner"]) == len(evaluated["pixels"]) > 10  # some are longer than one clip
    for index, sample in enumerate(samples):
        alone = space.encode(tactile=tactile.prepare([sample]))["tactile"]
        assert torch.allclose(alone[0], z[index], atol=1e-6)
    assert tactile.show(samples[3]).size == (512, 64)


def test_training_sees_one_clip_where_the_seed_says(tactile):
    long = tactile.read(pressures(200), {"rate": 50})
    seeds = [1, 2, 3]
    once, again = (tactile.prepare([long] * 3, seeds=seeds, augment="none")["pixels"] for _ in range(2))
    assert torch.equal(once, again)
    assert once.shape == (3, 32, 16, 16)
    assert len(set(once[:, 0, 0, 0].tolist())) == 3
    varied = tactile.prepare([long] * 3, seeds=seeds, augment="strong")["pixels"]
    assert not torch.equal(varied, once)


def test_recordings_are_resampled_and_cut_by_their_fragment(tactile):
    assert tactile.read(npy(pressures(100)), {"rate": 100})[:, 0, 0].tolist() == list(range(0, 100, 2))
    assert tactile.read(pressures(4), {"rate": 25})[:, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert tactile.read(pressures(100), {"rate": 50.0, "t": (0.5, 0.6)})[:, 0, 0].tolist() == [25, 26, 27, 28, 29]


@pytest.mark.parametrize(
    ("source", "info", "message"),
    [
        (pressures(9)[:, :8], {"rate": 50}, r"expected numbers \(n, 16, 16\), got float32 \(9, 8, 16\)"),
        (pressures(0), {"rate": 50}, r"expected numbers \(n, 16, 16\), got float32 \(0, 16, 16\)"),
        (pressures(9) - 2, {"rate": 50}, r"expected 0\.\.1000 kPa, got -2\.\.6: check the unit"),
        (pressures(9) * np.nan, {"rate": 50}, r"expected 0\.\.1000 kPa, got nan\.\.nan"),
        (pressures(9), {}, r"expected `tactile.rate` of 1\.\.10000 frames a second, got None: add the column"),
        (pressures(9), {"rate": "fast"}, r"expected `tactile.rate` of .*, got 'fast'"),
        (pressures(50), {"rate": 50, "t": (2.0, 3.0)}, r"expected a part of 1 s, got #t=2,3"),
        (npy(pressures(9))[:-100], {"rate": 50}, r"expected a whole NPY file of numbers, got a damaged one"),
        (b"", {"rate": 50}, r"expected a whole NPY file of numbers, got a damaged one"),
    ],
)
def test_a_sample_that_breaks_the_promise_says_what_was_expected_and_what_came(tactile, source, info, message):
    with pytest.raises(BadSample, match=message):
        tactile.read(source, info)


def test_the_space_names_the_item_that_cannot_be_read(tactile):
    space = Space({"tactile": tactile}, dim=8, pivot="tactile")
    with pytest.raises(UserError, match=r"^tactile\[1\]: expected 0\.\.1000 kPa, got -1\.\.7: check the unit$"):
        space.embed(tactile=[(pressures(9), {"rate": 50}), (pressures(9) - 1, {"rate": 50})])


def test_a_space_with_it_comes_back_from_its_folder(tactile, tmp_path):
    tactile.channels = [16, 24]
    text = registry.load("text")()
    space = Space({"text": text, "tactile": tactile}, dim=8, pivot="text")
    space.ledger = Ledger.new({"text": "random", "tactile": "random"})
    rng = np.random.default_rng(0)
    items = {"tactile": [tactile.example(rng, concept) for concept in range(3)], "text": ["a soft touch", "a blow"]}
    before = space.embed(**items)
    folder = bindspace.save(space, tmp_path / "space")
    again = bindspace.load(folder)
    assert again.configs["tactile"] == tactile
    assert all(torch.equal(before[name], vectors) for name, vectors in again.embed(**items).items())
    assert again.ledger.status("text", "tactile") == "unlinked"
    alone = bindspace.load(folder, modalities=["tactile"])
    assert torch.equal(alone.embed(tactile=items["tactile"])["tactile"], before["tactile"])
    assert "| `tactile` | an NPY file or array (n, 16, 16)" in (folder / "README.md").read_text("utf-8")


def test_without_the_package_its_space_says_what_to_install(tactile, tmp_path, monkeypatch):
    folder = bindspace.save(Space({"tactile": tactile}, dim=8, pivot="tactile"), tmp_path / "space")
    monkeypatch.setattr(sys, "path", sys.path[1:])
    registry.installed.cache_clear()
    invalidate_caches()
    with pytest.raises(UserError, match=r"needs the plugin 'tactile' of the package 'bindspace-tactile' \(0\.1\.0\)"):
        bindspace.load(folder)

"""The format `imagebind`: official files in and out, strictly, and never more of them than was asked for."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from imagebind_golden import SINGLE, distance, inputs, keys, numbers, official_file, small_configs
from safetensors.torch import save_file
from torch.nn import functional as F

import bindspace
from bindspace.cli import main
from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace.space.bundle import save
from bindspace_imagebind import format as format_module
from bindspace_imagebind.format import CONFIGS, ImagebindFormat, load_space, official
from bindspace_imagebind.keys import MASK, modality_of, official_names

NAMES = list(CONFIGS)


@pytest.fixture(scope="module")
def official_weights(tmp_path_factory) -> Path:
    """A file of the reduced model as the official code would write it."""
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(official_file(small_configs()), path)
    return path


@pytest.fixture
def small_format(monkeypatch):
    """The command line reads and writes files of the reduced model."""
    for name, config in small_configs().items():
        monkeypatch.setitem(format_module.CONFIGS, name, lambda config=config: config)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def edited(path: Path, to: Path, **changes: torch.Tensor | None) -> Path:
    """The file with some tensors replaced (None: left out); names with / for dots."""
    state = torch.load(path, weights_only=True)
    for name, value in changes.items():
        state.pop(name.replace("/", "."), None)
        if value is not None:
            state[name.replace("/", ".")] = value
    torch.save(state, to)
    return to


def test_names_shapes_and_kinds_are_the_official_ones(official_weights):
    state = torch.load(official_weights, weights_only=True)
    assert {name: list(value.shape) for name, value in state.items()} == {
        name: shape for name, (shape, _, _) in keys("small").items()
    }
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert type(state) is dict


def test_every_official_name_belongs_to_one_of_ours():
    for name in keys("huge"):
        modality = modality_of(name)
        assert modality is not None
        assert name == MASK or name in official_names(modality, CONFIGS[modality]().layers).values()
    assert modality_of("modality_trunks.smell.blocks.0.norm_1.weight") is None
    assert modality_of("visual.proj") is None


def test_a_file_becomes_a_space_and_the_same_file_again(official_weights, tmp_path):
    space = load_space(official_weights, None, small_configs())
    assert space.modalities == NAMES
    assert not space.training
    for name in NAMES:
        case = "vision" if name == "image" else name
        wanted = F.normalize(numbers("small")[f"{case}.out.f64"], dim=1)
        assert distance(space.encode(**{name: inputs(case)})[name], wanted) <= SINGLE
    loaded = bindspace.load(save(space, tmp_path / "space"))
    ImagebindFormat().save(loaded, tmp_path / "again.pth")
    before, after = (torch.load(path, weights_only=True) for path in (official_weights, tmp_path / "again.pth"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype, name
        assert torch.equal(value, after[name]), name


def test_scales_become_the_temperatures_of_pairs_with_the_image(official_weights):
    space = load_space(official_weights, None, small_configs())
    found = {pair: space.logit_scale(*pair.split("-")).item() for pair in space.temperatures}
    wanted = {"image-text": 1 / 0.07, "image-audio": 20, "image-depth": 5, "image-thermal": 10, "image-imu": 5}
    assert found == pytest.approx(wanted, rel=1e-6)
    assert [pair for pair in space.temperatures if space.temperatures[pair].learned] == ["image-text"]
    space.temperatures["image-text"].log_scale.data.fill_(4.0)
    assert official(space)["modality_postprocessors.text.1.log_logit_scale"].item() == 4.0
    alone = load_space(official_weights, ["audio"], small_configs())
    assert dict(alone.temperatures) == {}
    assert torch.equal(official(alone)["modality_postprocessors.audio.1.log_logit_scale"], torch.tensor(20.0).log())


def test_what_was_paired_is_declared_and_nothing_more_is_claimed(official_weights):
    ledger = load_space(official_weights, None, small_configs()).ledger
    assert ledger.status("image", "text") == "declared-trained"
    assert ledger.status("image", "imu") == "declared-trained"
    assert ledger.status("audio", "text") == "declared-emergent"
    assert ledger.legs("audio", "text") == [["audio", "image", "text"]]
    partial = load_space(official_weights, ["text", "audio"], small_configs()).ledger
    assert partial.status("audio", "text") == "declared-emergent"
    assert len(partial.declarations) == 2


def test_safetensors_and_half_precision_and_a_missing_mask_are_taken(official_weights, tmp_path):
    state = torch.load(official_weights, weights_only=True)
    del state[MASK]
    save_file(state, tmp_path / "small.safetensors")
    space = load_space(tmp_path / "small.safetensors", ["text"], small_configs())
    assert torch.equal(official(space)[MASK], torch.full((77, 77), float("-inf")).triu(1))
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "half.pth")
    half = load_space(tmp_path / "half.pth", ["depth"], small_configs())
    assert {value.dtype for value in half.state_dict().values()} == {torch.float32}


def test_nothing_of_other_modalities_is_read_or_built(official_weights, monkeypatch):
    from bindspace_imagebind.keys import Checkpoint

    read: list[str] = []
    init = Checkpoint.__init__

    def watched(self, path, shapes, value):
        init(self, path, shapes, lambda name: read.append(name) or value(name))

    monkeypatch.setattr(Checkpoint, "__init__", watched)
    for other in set(NAMES) - {"depth"}:
        monkeypatch.setattr(CONFIGS[other], "encoder", lambda self, pretrained: pytest.fail("another tower was built"))
    load_space(official_weights, ["depth"], small_configs())
    assert sorted(read) == sorted(name for name in keys("small") if modality_of(name) == "depth")


def test_what_is_missing_unexpected_or_of_another_shape_is_named(official_weights, tmp_path):
    stem, norm = "modality_preprocessors/depth/depth_stem/proj/weight", "modality_heads/depth/0/bias"
    for changes, message in (
        ({stem: None}, r"of depth: modality_preprocessors\.depth\.depth_stem\.proj\.weight is missing"),
        ({stem: None, norm: None}, r"is missing \(and 1 more\)"),
        ({"modality_heads/depth/9/bias": torch.zeros(3)}, r"modality_heads\.depth\.9\.bias is unexpected"),
        ({norm: torch.zeros(31)}, r"modality_heads\.depth\.0\.bias: expected shape \(32,\), got \(31,\)"),
        ({"visual/proj": torch.zeros(3)}, r"is not an ImageBind checkpoint \(it has 'visual\.proj'\)"),
    ):
        with pytest.raises(UserError, match=message):
            load_space(edited(official_weights, tmp_path / "e.pth", **changes), ["depth"], small_configs())


def test_a_tower_is_trained_from_the_checkpoint_its_settings_name(official_weights):
    from bindspace.space.space import Space

    config = small_configs()["imu"]
    config.weights = str(official_weights)
    space = Space({"imu": config}, 64, "imu", pretrained=True).eval()
    assert distance(space.encode(imu=inputs("imu"))["imu"] * 5, numbers("small")["imu.out.f64"]) <= SINGLE
    config.weights = str(official_weights.parent / "none.pth")
    with pytest.raises(UserError, match=r"there is no file .*none\.pth: expected a checkpoint of ImageBind"):
        Space({"imu": config}, 64, "imu", pretrained=True)


def test_spaces_of_other_towers_are_not_exported():
    from bindspace.space.space import Space

    plain = registry.load("depth")()
    with pytest.raises(UserError, match=r"depth is not an ImageBind tower \(it is DepthConfig with head=linear\)"):
        official(Space({"depth": plain}, 8, "depth"))


class Bomb:
    """Would write a file if it were unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda good, to: to.write_bytes(good.read_bytes()[:-2000]), "neither a whole torch file of tensors only"),
        (lambda good, to: to.write_bytes(b""), "neither a whole torch file of tensors only"),
        (lambda good, to: to.write_bytes(pickle.dumps({"a": Bomb()})), "neither a whole torch file of tensors only"),
        (lambda good, to: torch.save({"a": Bomb()}, to), "neither a whole torch file of tensors only"),
        (lambda good, to: torch.save({"a": 1}, to), "holds no state dict (names to tensors)"),
        (lambda good, to: torch.save({}, to), "is not an ImageBind checkpoint: expected names like"),
        (lambda good, to: torch.save({"visual.proj": torch.ones(2)}, to), "checkpoint (it has 'visual.proj')"),
        (lambda good, to: to.write_bytes(good.read_bytes()), "is not a complete ImageBind checkpoint of image"),
    ],
)  # fmt: skip
def test_bad_files_are_answered_in_one_sentence_and_nothing_is_written(
    make, message, official_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    make(official_weights, Path("bad.pth"))
    code, out, err = run(capsys, "import", "imagebind", "weights=bad.pth", "out=space")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.pth"]


def test_a_wrong_modality_is_answered_with_the_closest(official_weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ("import", "imagebind", f"weights={official_weights}", "out=space")
    code, _, err = run(capsys, *given, "modality=[detph]")
    assert code == 2
    assert "did you mean 'depth'?" in err
    torch.save(official_file({"depth": small_configs()["depth"]}), "depth.pth")
    code, _, err = run(capsys, "import", "imagebind", "weights=depth.pth", "out=space", "modality=[audio]")
    assert code == 2
    assert "depth.pth has no tensors of audio (available: depth): choose among those" in err
    assert [path.name for path in tmp_path.iterdir()] == ["depth.pth"]


def test_the_verbs_import_and_export(official_weights, small_format, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    chosen = "modality=[text,depth]"
    code, out, err = run(capsys, "import", "imagebind", f"weights={official_weights}", "out=space", chosen)
    assert (code, err) == (0, "")
    assert "declared: image-text on what open_clip's ViT-H-14 was trained on (LAION-2B), by Girdhar et al. 2023;" in out
    code, out, err = run(capsys, "export", "imagebind", "space=space", "out=again.pth")
    assert (code, err) == (0, "")
    before, after = (torch.load(path, weights_only=True) for path in (official_weights, "again.pth"))
    assert after.keys() == {name for name in before if modality_of(name) in ("text", "depth")}
    assert all(torch.equal(before[name], value) for name, value in after.items())
    code, _, err = run(capsys, "export", "imagebind", "space=space", "out=again.bin")
    assert code == 2
    assert "expected a name that ends in .pth or .pt" in err


CHILD = """
from bindspace.cli import main
code = main(["import", "imagebind", "weights=huge.pth", "out=space", "modality=[depth]"])
# not ru_maxrss, which begins at the size of the process that started this one
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, int(peak.split()[1]) // 1024)
"""


@pytest.mark.process
def test_importing_depth_from_a_large_file_takes_less_than_a_gigabyte(tmp_path):
    shapes = keys("huge")
    state = {name: torch.zeros(shapes[name]) for name in shapes if modality_of(name) == "depth"}
    state["modality_preprocessors.text.token_embedding.weight"] = torch.zeros(
        shapes["modality_preprocessors.text.token_embedding.weight"]
    )
    one = torch.zeros(())  # what the rest of the file would take if it were built: 4.5 GB, kept as one number
    state |= {name: one.expand(shape) for name, shape in shapes.items() if name not in state}
    torch.save(state, tmp_path / "huge.pth")
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split()[0] == "0", done.stderr
    assert int(done.stdout.split()[-1]) < 1000, done.stdout  # MB
    assert bindspace.load(tmp_path / "space").modalities == ["depth"]

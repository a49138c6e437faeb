"""Fine-tuning through the command line, to a space that needs no peft; and the commands of docs/fine-tune.md."""

import json
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import bindspace
from bindspace.cli import main
from bindspace.training.callbacks import SaveLast
from bindspace_audio import AudioConfig
from bindspace_image import ImageConfig

PAGE = Path(__file__).parents[1] / "docs" / "fine-tune.md"
QUICK = [
    "data.val_fraction=0", "data.batch=4", "data.workers=0", "trainer.threads=1", "trainer.accelerator=cpu",
    "trainer.precision=float32", "trainer.progress=false", "logger=csv",
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to run in, with eight events of a picture and a sound or a text, and two manifests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    rng = np.random.default_rng(0)
    rows = []
    for index in range(8):
        Path(f"{index}.png").write_bytes(ImageConfig().example(rng, index)[0])
        Path(f"{index}.wav").write_bytes(AudioConfig().example(rng, index)[0])
        rows.append(
            {"id": f"e{index}", "image": f"{index}.png", "text": f"thing number {index}", "audio": f"{index}.wav"}
        )
    for name, other in (("pictures", "text"), ("sounds", "audio")):
        lines = [json.dumps({key: row[key] for key in ("id", "image", other)}) + "\n" for row in rows]
        Path(f"{name}.jsonl").write_text("".join(lines))
    return tmp_path


@cache
def network(name: str) -> dict[str, torch.Tensor]:
    """The state of one of timm's networks, with a classifier."""
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3).state_dict()


def weights(name: str, path: str) -> None:
    """A file as timm saves it."""
    save_file(network(name), path)


def tuned(*settings: str) -> list[str]:
    """A command that trains a small timm network in two stages, of which the second freezes the image."""
    return [
        "train", "data=manifest", "data.train=[{path: pictures.jsonl},{path: sounds.jsonl}]", *QUICK,
        "modality=[image,text,audio]", "modality.image.trunk=timm", "modality.image.model=test_vit",
        "modality.image.weights=vit.safetensors",
        "stages=[{name: a, steps: 3, pairs: [image-text]},{name: b, steps: 2, pairs: [rest], freeze: [done]}]",
        "trainer.checkpoint_every=1", *settings,
    ]  # fmt: skip


@pytest.fixture
def stopping(monkeypatch):
    """Stops the run after so many checkpoints: `stopping(n)`; `stopping(0)` lets it run."""
    save, left = SaveLast._save, [0]

    def counted(self, trainer):
        save(self, trainer)
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("stopped here")

    monkeypatch.setattr(SaveLast, "_save", counted)
    return lambda count: left.__setitem__(0, count)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("stop", [2, 4])
def test_a_run_with_adapters_that_was_stopped_ends_as_an_unbroken_one(here, stopping, stop):
    weights("test_vit", "vit.safetensors")
    adapters = ["modality.image.tune.lora.rank=2", "modality.image.tune.lora.dropout=0.2"]
    stopping(0)
    assert main(tuned(*adapters, "out=whole")) == 0
    stopping(stop)  # in the first stage, and in the second, which no longer trains the adapters of the first
    assert main(tuned(*adapters, "out=broken")) == 1
    assert not Path("broken/space").exists()
    held = torch.load("broken/checkpoints/last.ckpt", weights_only=True)
    inside = [name for name in held["state_dict"] if name.startswith("space.towers.image.encoder")]
    assert inside
    assert all("lora_" in name for name in inside)
    assert any("base_layer" in name for name in held["rebuilt"])
    assert main(["train", "run=broken"]) == 0
    one, other = (load_file(f"{run}/space/model.safetensors") for run in ("whole", "broken"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not any("lora" in name or "base_layer" in name for name in one)
    began = load_file("vit.safetensors")
    for name, same in [("blocks.0.attn.qkv.weight", False), ("blocks.0.norm1.weight", True)]:
        assert torch.equal(one[f"towers.image.encoder.model.{name}"], began[name]) == same


@pytest.mark.filterwarnings("default")
def test_a_saved_space_of_adapters_loads_without_peft_and_says_how_it_was_tuned(here, monkeypatch):
    weights("test_vit", "vit.safetensors")
    assert main(tuned("modality.image.tune.lora.rank=2", "modality.image.tune.lora.targets=[qkv]", "out=run")) == 0
    monkeypatch.setitem(sys.modules, "peft", None)
    space = bindspace.load("run/space")
    assert space.embed(image=["0.png"])["image"].shape == (1, 128)
    lora = space.configs["image"].tune.lora
    assert (lora.rank, lora.targets) == (2, ["qkv"])
    assert ("image", "text") in space.ledger.trained_pairs()
    assert space.ledger.towers["image"].origin == "weights"


@pytest.mark.filterwarnings("default")
def test_a_file_of_weights_that_was_changed_meanwhile_is_refused(here, stopping, capsys):
    weights("test_vit", "vit.safetensors")
    stopping(2)
    assert main(tuned("modality.image.tune.lora.rank=2", "out=run")) == 1
    state = load_file("vit.safetensors")
    state["blocks.3.norm1.bias"][0] += 1
    save_file(state, "vit.safetensors")
    before = Path("run/checkpoints/last.ckpt").read_bytes()
    capsys.readouterr()
    assert main(["train", "run=run"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "modality.image: expected the weights that this run began with, got others from vit.safetensors (en" in said
    assert "blocks.3.norm1.bias" in said
    assert Path("run/checkpoints/last.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("modality.image.tune.lora.rnak=2", "did you mean 'rank'?"),
        ("modality.image.tune.lora.rank=many", "rank"),
        ("modality.image.tune.lora.rank=-2", "modality.image.tune.lora.rank: expected 0 or more, got -2"),
        ("modality.image.tune.layer_decay=0", "modality.image.tune.layer_decay: expected more than 0 and at most 1"),
        ("modality.image.tune.unfreeze_last=1", "has no effect: add modality.image.tune.freeze=true"),
        ("modality.image.model=test_vitt", "unknown timm model 'test_vitt': the closest are test_vit"),
        ("modality.image.model=hf-hub:timm/x", "hubs and folders are never followed"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_leaves_no_run(here, capsys, setting, sentence):
    weights("test_vit", "vit.safetensors")
    assert main(tuned(setting, "out=run")) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not Path("run").exists()


def commands() -> list[list[str]]:
    """The commands of the page, as a shell would split them."""
    blocks = re.findall(r"^```\n(bindspace .*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [shlex.split(block.replace("\\\n", " "))[1:] for block in blocks]


@pytest.mark.process  # networks of full size
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("command", commands(), ids=lambda command: command[-1])
def test_the_commands_of_the_page_run(here, command):
    weights("resnet18", "resnet18.safetensors")
    weights("vit_tiny_patch16_224", "vit_tiny.safetensors")
    assert main([*command, *QUICK, "stages=[{name: joint, steps: 1}]"]) == 0
    folder = Path(command[-1].removeprefix("out="))
    assert bindspace.load(folder / "space").modalities

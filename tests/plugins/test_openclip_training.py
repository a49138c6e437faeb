"""Training on pretrained halves: through the command line as a frozen pivot, and by hand over an imported space."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

import bindspace
from bindspace.cli import main
from bindspace.settings.run import OptimSettings, Pair

open_clip = pytest.importorskip("open_clip")
from bindspace_openclip.formats import OpenClipFormat  # noqa: E402

MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
QUIET = ["trainer.progress=false", "logger=csv", "trainer=cpu", "data.workers=0", "benchmark.permutations=50"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, with a small model known to open_clip, and its weights in `small.pt`."""
    (tmp_path / "small.json").write_text(json.dumps(MODEL))
    open_clip.add_model_config(tmp_path / "small.json")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(open_clip.create_model("small").state_dict(), "small.pt")
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(tmp_path / "small.json")
    del open_clip.factory._MODEL_CONFIGS["small"]


@pytest.fixture
def events() -> dict[str, str]:
    """Manifests `train` and `test`: a picture, a caption and a sound of each event."""
    rng, paths = np.random.default_rng(0), {}
    for split, count in (("train", 32), ("test", 16)):
        rows = []
        for number in range(count):
            name = f"{split}{number}"
            Image.fromarray(rng.integers(0, 255, (40, 32, 3), np.uint8)).save(f"{name}.png")
            with wave.open(f"{name}.wav", "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes((rng.normal(size=8000) * 3000).astype("<i2").tobytes())
            rows.append({"id": name, "image": f"{name}.png", "audio": f"{name}.wav", "text": f"event {name}"})
        paths[split] = f"{split}.jsonl"
        Path(paths[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def train(events: dict[str, str], *more: str) -> int:
    """`bindspace train` on the small model, both halves frozen."""
    data = [f"data.{split}=[{{path: {path}}}]" for split, path in events.items()]
    arguments = ["modality=[image_openclip,text_openclip,audio]", "data=manifest", "data.batch=8", *data]
    for name in ("image", "text"):
        arguments += [
            f"modality.{name}.{setting}" for setting in ("model=small", "weights=small.pt", "tune.freeze=true")
        ]
    return main(["train", *arguments, "stages.0.steps=4", "schedule=joint", *QUIET, "out=run", *more])


@pytest.mark.filterwarnings("always:both towers of image-text")
def test_a_sensor_is_bound_to_a_frozen_pretrained_pivot(events, capsys):
    assert train(events) == 0
    printed = capsys.readouterr()
    assert "bindspace: both towers of image-text are frozen: the pair is not trained, nor recorded" in printed.err
    assert printed.err.count("both towers") == 1
    space = bindspace.load("run/space")
    assert space.dim == 24  # nobody set it: it follows the model
    assert list(space.temperatures) == ["image-audio"]
    assert space.ledger.trained_pairs() == [("audio", "image")]
    assert [space.ledger.towers[name].origin for name in ("image", "text", "audio")] == [
        "declared",
        "declared",
        "random",
    ]
    statuses = {
        (a, b): space.ledger.status(a, b) for a, b in [("image", "text"), ("audio", "image"), ("audio", "text")]
    }
    assert list(statuses.values()) == ["declared-trained", "trained", "emergent"]
    assert space.ledger.legs("audio", "text") == [["audio", "image", "text"]]
    model = open_clip.create_model("small", pretrained="small.pt")
    assert torch.equal(space.towers["image"].encoder.tower.proj, model.visual.proj)
    report = json.loads(Path("run/benchmark/report.json").read_text())
    cells = {(cell["query"], cell["gallery"]): cell["status"] for cell in report["pairs"]}
    assert cells["audio", "text"] == "emergent"
    assert cells["text", "image"] == "declared-trained"
    assert "open_clip small (small.pt, sha256" in report["ledger"]["declarations"][0]["by"]


def test_weights_of_two_models_are_not_declared_as_trained_together(events):
    torch.manual_seed(1)
    torch.save(open_clip.create_model("small").state_dict(), "other.pt")
    from bindspace.training.module import new_ledger
    from bindspace_openclip import OpenClipImageConfig, OpenClipTextConfig

    for text, status in (("small.pt", "declared-trained"), ("other.pt", "unlinked")):
        configs = {
            "image": OpenClipImageConfig(model="small", weights="small.pt"),
            "text": OpenClipTextConfig(model="small", weights=text),
        }
        assert new_ledger(bindspace.Space(configs, 24, "image")).status("image", "text") == status


@pytest.mark.filterwarnings("ignore:both towers of image-text")
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            ["dim=128"],
            "dim=128: modality.image outputs embeddings of 24 dimensions (head=identity): set dim=24",
        ),
        (["modality.audio.tune.freeze=true"], "both towers of every pair are frozen (image-text, image-audio)"),
        (["modality.image.model=smal"], "unknown open_clip model 'smal' (available: small)"),
        (["modality.image.width=9"], "width=9: small ends in 24 dimensions: leave width out"),
        (["modality.image.weights=no.pt"], "expected `weights` to be a file of weights, there is none at no.pt"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(events, capsys, more, sentence):
    assert train(events, *more) == 2
    error = capsys.readouterr().err
    assert sentence in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not Path("run").exists()


@pytest.mark.filterwarnings("always:modality.image.head=linear")
def test_a_random_head_on_pretrained_weights_is_warned_of(capsys):
    arguments = ["modality=[image_openclip,audio]", "modality.image.model=small", "modality.image.weights=small.pt"]
    main(
        ["train", *arguments, "modality.image.head=linear", "dim=16", "data=manifest", "data.train=[{path: no.jsonl}]"]
    )
    assert (
        "modality.image.head=linear puts a random projection on a pretrained embedding space" in capsys.readouterr().err
    )


class Batches(torch.utils.data.Dataset):
    """Batches made by hand, for a Trainer of one's own."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> bindspace.data.Batch:
        torch.manual_seed(index)
        rows, digests = torch.arange(4), torch.randint(0, 255, (4, 32), dtype=torch.uint8)
        inputs = {"image": {"pixels": torch.rand(4, 3, 32, 32)}, "text": {"ids": torch.randint(1, 9, (4, 12))}}
        return bindspace.data.Batch(
            ids=list("abcd"), digests=dict.fromkeys(inputs, digests), inputs=inputs,
            rows=dict.fromkeys(inputs, rows), source="by hand",
        )  # fmt: skip


def test_an_imported_space_that_is_trained_on_by_hand_says_both(tmp_path):
    space = OpenClipFormat(model="small").load(Path("small.pt"), None)
    assert space.ledger.status("image", "text") == "declared-trained"
    module = bindspace.BindModule(space, [Pair(["image", "text"])], steps=3, optim=OptimSettings(lr=1e-3))
    loader = torch.utils.data.DataLoader(Batches(), batch_size=None)
    L.Trainer(
        max_steps=3, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", default_root_dir=tmp_path,
    ).fit(module, loader)  # fmt: skip
    again = bindspace.load(bindspace.save(space, "space"))
    assert again.ledger.status("image", "text") == "trained"
    assert again.ledger.towers["image"].origin == "declared"
    assert len(again.ledger.declarations) == 1
    card = Path("space/README.md").read_text()
    assert "Declared, not recorded: image-text, by open_clip small" in card
    assert "| image-text | 3 | 12 |" in card

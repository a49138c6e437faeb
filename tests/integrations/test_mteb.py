"""Any space runs mteb's tasks, offline, and mteb's figures are those of bindspace's own benchmark."""

from __future__ import annotations

import copy
import io
import json
import socket
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from bindspace import Source
from bindspace.benchmark.cell import Kept
from bindspace.benchmark.emergent import run_benchmark
from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace.data import load_pool
from bindspace.integrations.mteb import MtebModel
from bindspace.settings.run import BenchmarkSettings
from bindspace.space.space import Space

pytestmark = pytest.mark.filterwarnings("ignore:::(?!bindspace)")  # mteb and what it imports
NAMES = ("image", "text", "audio")
EVENTS = 24
RATES = (8000, 16000, 22050)  # Hz: one for each third of the sounds


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """A connection would be an error."""

    def refuse(*arguments):
        raise OSError("this test is offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def space() -> Space:
    """Small towers with random weights: what is compared is how they are asked."""
    torch.manual_seed(0)
    kinds = {name: registry.load(name) for name in NAMES}
    return Space({name: kind(**kind.small) for name, kind in kinds.items()}, 16, "image").eval()


def made(name: str, number: int):
    """The example of an event: bytes of a file, or a text."""
    rng = np.random.default_rng([number, len(name)])
    if name == "text":
        return f"thing {number} of {rng.integers(1000)}"
    if name == "image":
        return registry.load(name)().example(rng, number % 10)[0]
    file = io.BytesIO()
    rate = RATES[number % 3]
    soundfile.write(file, rng.normal(0, 0.1, rate // 4).astype(np.float32), rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def column(name: str) -> dict[str, list]:
    """The events of a modality as mteb's data sets hold them."""
    cells = [made(name, number) for number in range(EVENTS)]
    if name == "image":
        return {name: [Image.open(io.BytesIO(cell)) for cell in cells]}
    if name == "audio":
        sounds = [soundfile.read(io.BytesIO(cell), dtype="float32") for cell in cells]
        return {name: [{"array": wave, "sampling_rate": rate} for wave, rate in sounds]}
    return {name: cells}


def retrieval_task(query: str, gallery: str):
    """mteb's mock task of that direction, on these events: its own sounds need torchcodec and FFmpeg."""
    from datasets import Dataset
    from mteb import mocks
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

    numbers = range(EVENTS)
    kind = getattr(mocks, f"MockAny2AnyRetrieval{query[0].upper()}2{gallery[0].upper()}Task")

    class Task(kind):
        def load_data(self, num_proc=None, **options):
            split = RetrievalSplitData(
                queries=Dataset.from_dict({"id": [f"q{i}" for i in numbers], **column(query)}),
                corpus=Dataset.from_dict({"id": [f"d{i}" for i in numbers], **column(gallery)}),
                relevant_docs={f"q{i}": {f"d{i}": 1} for i in numbers},
                top_ranked=None,
            )
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Task()


@pytest.fixture(scope="module")
def own(space, tmp_path_factory) -> tuple[dict, dict]:
    """What bindspace's benchmark says of the same events in files: recall and ranks by (query, gallery)."""
    folder, rows = tmp_path_factory.mktemp("events"), []
    for number in range(EVENTS):
        row = {"id": f"e{number}", "text": made("text", number)}
        for name, suffix in (("image", "png"), ("audio", "wav")):
            row[name] = f"{name}{number}.{suffix}"
            (folder / row[name]).write_bytes(made(name, number))
        rows.append(json.dumps(row))
    (folder / "manifest.jsonl").write_text("\n".join(rows))
    kept, pool = Kept(), load_pool([Source(str(folder))], space.configs)
    settings = BenchmarkSettings(permutations=1, zero_shot=[])
    report = run_benchmark(space, pool, settings, kept=kept, progress=False)
    recall = {(cell["query"], cell["gallery"]): cell["recall"] for cell in report["pairs"]}
    return recall, {tuple(pair.split(">")): ranks[0] for pair, ranks in kept.ranks.items()}


def evaluate(model, *tasks, cache=None) -> dict[str, dict]:
    """Scores by the task's name."""
    import mteb

    found = mteb.evaluate(model, tasks, cache=cache, co2_tracker=False, show_progress_bar=False)
    return {result.task_name: result.scores["test"][0] for result in found.task_results}


@pytest.mark.parametrize(
    ("query", "gallery"), [("text", "image"), ("image", "text"), ("text", "audio"), ("audio", "text")]
)
def test_mteb_measures_the_recall_that_the_benchmark_measures(space, own, query, gallery):
    (scores,) = evaluate(MtebModel(space), retrieval_task(query, gallery)).values()
    recall, ranks = own
    assert 0 < recall[query, gallery]["10"] < 1  # or any order would do
    for k, expected in recall[query, gallery].items():
        assert scores[f"recall_at_{k}"] == pytest.approx(expected, abs=1e-5)
    gain = torch.where(ranks[query, gallery] <= 10, 1 / (1 + ranks[query, gallery].double()).log2(), 0.0)
    assert scores["ndcg_at_10"] == pytest.approx(float(gain.mean()), abs=1e-5)


def test_every_mock_task_that_the_space_has_the_modalities_for_runs(space):
    import mteb
    from mteb.mocks import ALL_MOCK_TASK_TEST_GRID
    from mteb.results.task_result import TaskResult

    found = mteb.mock_run(MtebModel(space))
    assert found.all_passed, found.to_markdown()
    passed = {name for name, status in found.items() if isinstance(status, TaskResult)}
    texts = {"MockClassificationTask", "MockPairClassificationTask", "MockSTSTask", "MockRetrievalTask"}
    assert texts | {"MockAny2AnyRetrievalI2T", "MockAny2AnyRetrievalT2I"} <= passed
    missed = {name for name, status in found.items() if status is not None} - passed
    sounding = {each.metadata.name for each in ALL_MOCK_TASK_TEST_GRID if "audio" in each.metadata.modalities}
    assert missed <= sounding  # mteb's own sounds need torchcodec


def test_results_are_filed_under_the_weights_and_measured_anew_for_others(space, tmp_path, monkeypatch):
    import mteb

    cache, task = mteb.ResultCache(tmp_path), retrieval_task("text", "image")
    first = evaluate(MtebModel(space, "me/mine"), task, cache=cache)
    ndcg = first["MockAny2AnyRetrievalT2I"]["ndcg_at_10"]
    files = [path for path in tmp_path.rglob("*.json") if path.name.startswith("MockAny2Any")]
    assert [path.parent.name for path in files] == [MtebModel(space).mteb_model_meta.revision]
    with monkeypatch.context() as patch:
        patch.setattr(Space, "embed", None)
        again = evaluate(MtebModel(space, "me/mine"), task, cache=cache)  # which embeds nothing
        assert again["MockAny2AnyRetrievalT2I"]["ndcg_at_10"] == ndcg
        other = copy.deepcopy(space)
        with torch.no_grad():
            next(other.towers["text"].parameters())[3] += 1
        with pytest.raises(TypeError, match="not callable"):
            evaluate(MtebModel(other, "me/mine"), task, cache=cache)


def test_the_revision_follows_weights_and_settings_and_what_read_is_told(space):
    others = {name: type(config)(**type(config).small) for name, config in space.configs.items()}
    others["audio"].clips += 1
    other = Space(others, space.dim, "image")
    other.load_state_dict(space.state_dict())
    models = MtebModel(space), MtebModel(other), MtebModel(space, read={"image": {"background": "white"}})
    assert len({model.mteb_model_meta.revision for model in models}) == 3
    assert MtebModel(space).mteb_model_meta == models[0].mteb_model_meta


def test_what_mteb_is_told_of_a_space(space):
    from mteb import EncoderProtocol, SearchProtocol

    model = MtebModel(space, "me/mine")
    assert isinstance(model, EncoderProtocol)
    assert not isinstance(model, SearchProtocol)
    meta = model.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.modalities) == ("me/mine", 16, ["text", "image", "audio"])
    assert meta.similarity_fn_name.value == "cosine"
    assert meta.training_datasets is None  # nobody said that it saw none


class Task:
    """Of a task only the name is asked."""

    name = "Made"


def test_vectors_are_float32_and_rows_of_two_modalities_get_the_sum_of_both(space):
    model = MtebModel(space)
    pictures, texts = column("image")["image"][:3], column("text")["text"][:3]
    z = model.encode([{"image": pictures, "text": texts, "id": ["a", "b", "c"]}], task_metadata=Task)
    assert (z.dtype, z.shape) == (np.float32, (3, 16))
    parts = space.embed(image=pictures, text=texts)
    both = parts["image"] + parts["text"]
    assert z == pytest.approx((both / both.norm(dim=1, keepdim=True)).numpy(), abs=1e-6)
    assert model.encode([], task_metadata=Task).shape == (0, 16)


def test_a_transparent_picture_is_refused_until_read_is_told_what_is_behind_it(space):
    batch = [{"image": [Image.new("RGBA", (20, 20), (255, 0, 0, 100))]}]
    with pytest.raises(UserError, match=r"Made, batch 0: image\[0\]: expected an opaque picture"):
        MtebModel(space).encode(batch, task_metadata=Task)
    told = MtebModel(space, read={"image": {"background": "white"}})
    assert told.encode(batch, task_metadata=Task).shape == (1, 16)


def test_mistakes_get_a_sentence(space, install_toys, monkeypatch):
    with pytest.raises(UserError, match="name: expected organisation/model, got 'mine'"):
        MtebModel(space, "mine")
    with pytest.raises(UserError, match=r"read: expected settings of text, image, audio, got 'imgae'"):
        MtebModel(space, read={"imgae": {}})
    with pytest.raises(UserError, match="expected text or image or audio, got columns video: choose tasks of those"):
        MtebModel(space).encode([{"video": [None]}], task_metadata=Task)
    with pytest.raises(UserError, match="precision=int8: a space gives float32"):
        MtebModel(space).encode([], task_metadata=Task, precision="int8")
    toys = Space({"words": install_toys.WordsConfig()}, 4, "words")
    with pytest.raises(UserError, match="mteb supports text, image, audio, video, the space has words"):
        MtebModel(toys)
    monkeypatch.setitem(sys.modules, "mteb.models.model_meta", None)
    with pytest.raises(UserError, match=r"needs mteb \(.*\): pip install 'bindspace\[mteb\]'"):
        MtebModel(space)


def test_importing_the_module_does_not_import_mteb():
    code = "import sys, bindspace.integrations.mteb; print('mteb' in sys.modules, 'datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False False\n", done

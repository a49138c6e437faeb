"""The verbs beside train, and what `bindspace` itself answers."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bindspace import cli
from bindspace.contract.errors import UserError

LISTING = """
import sys
from bindspace.cli import main
codes = [main([]), main(["--help"]), main(["--version"]), main(["plugins"]), main(["train", "--help"]), main(["trian"])]
print("slow:", [name for name in ("hydra", "omegaconf", "numpy", "PIL", "torch", "lightning") if name in sys.modules])
codes += [main(["train", "modality=[audoi]"]), main(["train", "modality.image.widht=3"]), main(["train", "los=fixed"])]
codes += [main(["train", "seed=abc"]), main(["train", "size=bsae"])]
codes += [main(["train", "seed=1.5"]), main(["train", "~modality.depth"]), main(["benchmark", "space=x", "out=y"])]
print("slower:", [name for name in ("numpy", "PIL", "torch", "lightning", "torchaudio") if name in sys.modules])
print("codes:", codes)
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def space(install_toys):
    """A space of toy modalities, untrained, as the folder `space`."""
    from bindspace.ledger.ledger import Ledger
    from bindspace.space.bundle import save
    from bindspace.space.space import Space

    configs = {"vector": install_toys.VectorConfig(), "words": install_toys.WordsConfig()}
    space = Space(configs, dim=4, pivot="vector")
    space.ledger = Ledger.new(dict.fromkeys(space.modalities, "random"))
    return save(space.eval(), "space")


@pytest.fixture
def manifest():
    """Twelve events with both toy modalities, one with words only."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        np.save(f"{number}.npy", rng.normal(size=6).astype(np.float32))
        rows.append({"id": f"e{number}", "vector": f"{number}.npy", "words": f"thing {number} of many"})
    rows.append({"id": "lonely", "words": "nobody else"})
    Path("manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "manifest.jsonl"


# --- bindspace itself


def test_help_listings_and_typos_import_nothing_slow():
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[-1] == "codes: [0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2]", done
    assert "slow: []" in done.stdout
    assert "slower: []" in done.stdout
    assert "Traceback" not in done.stderr


def test_help_lists_every_verb_and_data_set(call):
    text = call("--help").out
    for verb in ("train", "benchmark", "embed", "manifest", "plugins", "world"):
        assert f"\n  {verb} " in text
        assert call(verb, "--help").out.startswith("usage: bindspace ")


def test_the_version_is_that_of_the_package(call):
    from bindspace import __version__

    assert call("--version").out == f"bindspace {__version__}\n"


def test_train_help_names_groups_options_settings_and_how_to_quote(call):
    text = call("train", "--help").out
    for part in (
        "modality    audio ", "experiment  emergence quickstart supervised",
        "loss        distillation fixed gram info_nce learned",
        "data        audiocaps audioset clotho ", " manifest ", "suite       emergent imagebind none quick",
        "data.batch=128  # events a step", "trainer.devices=1\n", "seed=0\n", "optim.clip=1.0  # gradient norm",
        "'modality=[image,text,audio]'", "'~modality.text'", "--config-dir DIR", "path=...  # a .jsonl",
    ):  # fmt: skip
        assert part in text


def test_exit_codes_tell_whose_mistake_it_was(call, monkeypatch):
    def answer(error: BaseException):
        def verb(arguments):
            raise error

        monkeypatch.setattr(cli, "_verb", lambda name: verb)
        return call("anything")

    assert answer(UserError("two\nlines")) == type(answer(UserError("x")))(2, "", "bindspace: two lines\n")
    assert answer(KeyboardInterrupt()).code == 130
    ours = answer(RuntimeError("ours"))
    assert ours.code == 1
    assert ours.err.startswith("Traceback")
    assert ours.err.endswith("RuntimeError: ours\n")
    full = answer(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert (full.code, full.err) == (
        2,
        "bindspace: cannot use /data/x: no space left on device: choose another folder or make room\n",
    )
    assert answer(OSError(errno.ECONNRESET, "reset")).code == 1


# --- plugins


def test_plugins_shows_who_brings_what_and_why_some_do_not_load(call, install):
    good = """
from dataclasses import dataclass
from bindspace import ModalityConfig
@dataclass(kw_only=True)
class EarConfig(ModalityConfig):
    modality = "audio"
    expects = "sound"
"""
    preset = "# @package modality.audio\ndefaults: [ear, _self_]\n"
    lone = "# @package modality.audio\nwidth: 9\n"
    files = {
        "bindspace_ear/__init__.py": good,
        "bindspace_ear/conf/modality/ear_wide.yaml": preset,
        "bindspace_ear/conf/modality/ear_lone.yaml": lone,
    }
    install("bindspace-ear", files, version="2.5", ear="bindspace_ear:EarConfig")
    install("bindspace-bad", {"bindspace_bad/__init__.py": "import nowhere"}, bad="bindspace_bad:BadConfig")
    install("bindspace-old", {"bindspace_old/__init__.py": good + "    contract = 7"}, old="bindspace_old:EarConfig")
    for name in ("one", "two"):
        install(f"bindspace-{name}", {f"bindspace_{name}/__init__.py": good}, radar=f"bindspace_{name}:EarConfig")
    outcome = call("plugins")
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["ear", "audio", "bindspace-ear", "2.5", "ear_lone", "ear_wide"] in lines
    assert ["bad", "(failed)", "bindspace-bad", "1.0"] in lines
    assert ["radar", "(failed)", "bindspace-one", "1.0"] in lines
    assert ["radar", "(failed)", "bindspace-two", "1.0"] in lines
    assert any(line[:2] == ["world", "bindspace"] for line in lines)
    assert any(line[:3] == ["audio", "audio", "bindspace"] for line in lines)
    failed = outcome.out.partition("failed:\n")[2]
    assert "plugin 'bad' of bindspace-bad does not load: ModuleNotFoundError: No module named 'nowhere'" in failed
    assert "plugin 'old' of bindspace-old was written for contract 7, this bindspace supports contract 1" in failed
    assert "the name 'radar' is claimed by" in failed
    assert "preset 'ear_lone' of bindspace-ear" in failed


def test_plugins_says_so_when_all_is_well(call, refused):
    assert call("plugins").out.rstrip().endswith("all plugins load")
    assert "takes no settings" in refused("plugins", "x=1")


# --- manifest


def test_a_manifest_is_made_of_files_in_folders(call):
    for folder, suffix in (("img", "jpg"), ("touch", "npy")):
        Path(folder).mkdir()
        for stem in "ab":
            Path(folder, f"{stem}.{suffix}").touch()
    outcome = call("manifest", "image=img/*.jpg", "tactile=touch/[a-z].npy", "by=stem", "out=m.jsonl")
    assert (outcome.code, outcome.out) == (0, "m.jsonl: 2 rows\n")
    rows = [json.loads(line) for line in Path("m.jsonl").read_text().splitlines()]
    assert [(row["image"], row["tactile"]) for row in rows] == [
        ("img/a.jpg", "touch/a.npy"),
        ("img/b.jpg", "touch/b.npy"),
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["image=a/*"], "out is missing: write out=manifest.jsonl"),
        (["out=m.jsonl"], "expected a pattern for each modality, got none"),
        (["a.jpg", "out=m.jsonl"], "write 'MODALITY=PATTERN' in quotes"),
        (["image=a/*", "image=b/*", "out=m.jsonl"], "a name is given twice"),
        (["image=a/*.jpg", "out=m.jsonl"], "image"),
    ],
)
def test_a_manifest_that_cannot_be_made_says_why(refused, arguments, sentence):
    assert sentence in refused("manifest", *arguments)
    assert not Path("m.jsonl").exists()


# --- embed


def test_items_are_embedded_into_either_format_with_their_names(call, space):
    from safetensors import safe_open

    import bindspace

    texts = ["a dog, barking", "rain"]
    np.save("a.npy", np.arange(6, dtype=np.float32))
    arguments = [f"space={space}", "vector=[a.npy]", "words=['a dog, barking',rain]", "device=cpu"]
    assert call("embed", *arguments, "out=z.safetensors").code == 0
    outcome = call("embed", *arguments, "out=z.npz", "batch_size=1")
    assert outcome.out == "z.npz: vector (1, 4), words (2, 4)\n"
    expected = bindspace.load(space).embed(vector=["a.npy"], words=texts)
    with safe_open("z.safetensors", "np") as file, np.load("z.npz") as arrays:
        for name, items in (("vector", ["a.npy"]), ("words", texts)):
            np.testing.assert_array_equal(file.get_tensor(name), expected[name].numpy())
            np.testing.assert_allclose(arrays[name], expected[name].numpy(), atol=1e-6)
            assert json.loads(file.metadata()[f"{name}.items"]) == items
            assert list(arrays[f"{name}.items"]) == items


def test_a_column_of_a_manifest_is_embedded_by_the_ids_of_its_events(call, space, manifest):
    outcome = call("embed", f"space={space}", f"data={manifest}", "modality=words", "out=z.npz")
    assert outcome.out == "z.npz: words (13, 4)\n"
    outcome = call("embed", f"space={space}", f"data={manifest}", "out=z.npz")
    assert outcome.out == "z.npz: vector (12, 4), words (13, 4)\n"
    with np.load("z.npz") as arrays:
        assert list(arrays["vector.items"]) == [f"e{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["words=[x]", "out=z.npz"], "space is missing: write space=DIR"),
        (["space=space", "words=[x]"], "out is missing"),
        (["space=space", "words=[x]", "out=z.csv"], "expected a name that ends in .safetensors or .npz"),
        (["space=space", "out=z.npz"], "nothing to embed"),
        (["space=space", "wrods=[x]", "out=z.npz"], "unknown modality of this space 'wrods': did you mean 'words'?"),
        (["space=nowhere", "words=[x]", "out=z.npz"], "space=nowhere holds no space.json"),
        (["space=space", "words=[x]", "out=z.npz", "batch_size=0"], "batch_size: expected a whole number of 1 or more"),
        (["space=space", "words=[x]", "out=z.npz", "device=gpx"], "device=gpx"),
        (["space=space", "words=[x]", "data=m.jsonl", "out=z.npz"], "data= and words= exclude each other"),
        (["space=space", "data=m.jsonl", "modality=wrods", "out=z.npz"], "did you mean 'words'?"),
        (["space=space", "data=m.jsonl", "out=z.npz"], "m.jsonl"),
        (["space=space", "vector=[nothing.npy]", "out=z.npz"], "vector[0] (nothing.npy)"),
        (["space=space", "words=[x", "out=z.npz"], "cannot read 'words=[x'"),
    ],
)
def test_what_cannot_be_embedded_is_named(refused, space, arguments, sentence):
    assert sentence in refused("embed", *arguments)
    assert not Path("z.npz").exists()


# --- benchmark


def test_a_space_is_measured_on_each_pool_of_the_test_sources(call, space, manifest):
    sources = f"data.test=[{{path: {manifest}}},{{path: {manifest}, pool: again}}]"
    outcome = call("benchmark", f"space={space}", sources, "out=report", "device=cpu", "benchmark.permutations=50")
    assert outcome.code == 0, outcome.err
    report = json.loads(Path("report/report.json").read_text())
    assert {(cell["query"], cell["gallery"]) for cell in report["pairs"]} == {("vector", "words"), ("words", "vector")}
    assert report["protocol"]["pool"] == 12
    assert list(report["pools"]) == ["again"]
    assert {path.name for path in Path("report").iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
        "matrix.png",
        "ranks.safetensors",
    }
    assert "R@10" in outcome.out
    assert outcome.out.rstrip().endswith("report: report")


def test_the_config_of_a_benchmark_is_shown(call, space):
    assert "device: auto" in call("benchmark", "--cfg=job", f"space={space}", "out=r").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data.test=[{path: C}]", "out=r"], "space is missing: give it a value"),
        (["space=space", "data.test=[{path: C}]"], "out is missing: give it a value"),
        (
            ["space=nowhere", "data.test=[{path: C}]", "out=r"],
            "space=nowhere holds no space.json: give the `space` folder",
        ),
        (["space=space", "out=r"], "expected test data, got none: write 'data.test=[{path: my/test.jsonl}]'"),
        (["space=space", "out=r", "data.tset=[{path: C}]"], "data: unknown setting 'tset': did you mean 'test'?"),
        (["space=space", "out=r", "benchmark.permutatoins=3"], "did you mean 'permutations'?"),
        (["space=space", "out=r", "seed=3"], "unknown setting 'seed'"),
        (["space=space", "out=r", "modality=[words]"], "unknown setting 'modality'"),
        (["space=space", "out=r", "data.test=[{path: C}]", "benchmark.batch_size=0"], "expected 1 or more, got 0"),
        (["space=space", "out=r", "data.test=[{path: nowhere.jsonl}]"], "nowhere.jsonl"),
        (["space=space", "out=r", "data.test=[{path: C}]", "device=gpx"], "device=gpx"),
        (["-m", "space=space", "out=r"], "unknown option '-m'"),
    ],
)
def test_a_benchmark_that_cannot_be_run_says_why(refused, space, arguments, sentence):
    assert sentence in refused("benchmark", *arguments)
    assert not Path("r").exists()

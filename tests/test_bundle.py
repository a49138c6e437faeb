"""Space folders: what is saved comes back to the bit, and a stranger's folder gets one sentence and runs nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from bindspace.contract import registry
from bindspace.contract.errors import PluginError, UserError
from bindspace.ledger.ledger import Ledger
from bindspace.space import bundle
from bindspace.space.bundle import load, save
from bindspace.space.space import Space

ITEMS = {
    "vector": list(np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)),
    "curve": list(np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)),
    "words": ["a dog barks", "rain"],
}


@pytest.fixture
def space(install_toys) -> Space:
    """Three toy modalities, as if trained: `vector` with `words` and with `curve`, on different media."""
    toys = install_toys
    torch.manual_seed(0)
    vector = toys.VectorConfig(activation=toys.Activation.tanh, depth=toys.Depth(layers=2), scales=(1.0, 0.25))
    configs = {"vector": vector, "curve": toys.CurveConfig(width=12, label="round"), "words": toys.WordsConfig()}
    space = Space(configs, dim=4, pivot="vector")
    space.train()
    for _ in range(3):  # so that running statistics are not what a fresh tower has
        space("vector", {"values": torch.randn(8, 6) + 1})
    space.add_temperature("words", "vector", 0.07, learned=True, minimum=0.02)
    space.add_temperature("vector", "curve", 0.1, learned=False)
    space.ledger = Ledger.new(dict.fromkeys(space.modalities, "random"))
    for number, other in enumerate(("words", "curve")):
        digests = np.full((3, 32), number, np.uint8)
        space.ledger.record(("vector", other), "f" * 64, {"vector": digests, other: digests})
    return space


@pytest.fixture
def folder(space, tmp_path) -> Path:
    """The space as a folder."""
    return save(space, tmp_path / "space")


def edit(folder: Path, change) -> None:
    """Changes what `space.json` says."""
    value = json.loads((folder / "space.json").read_text())
    change(value)
    (folder / "space.json").write_text(json.dumps(value))


def refused(folder: Path, match: str, **how) -> str:
    """Checks that loading is refused with one sentence, and returns it."""
    with pytest.raises(UserError, match=match) as caught:
        load(folder, **how)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


# --- a round trip


def test_vectors_come_back_equal_to_the_bit(space, folder):
    again = load(folder)
    before, after = space.embed(**ITEMS), again.embed(**ITEMS)
    assert again.modalities == space.modalities
    assert all(torch.equal(before[name], after[name]) for name in ITEMS)
    assert not again.training


def test_settings_come_back_as_the_dataclass_had_them(space, folder):
    assert load(folder).configs == space.configs


def test_temperatures_come_back_with_their_bounds(space, folder):
    again = load(folder)
    assert torch.equal(again.logit_scale("words", "vector"), space.logit_scale("words", "vector"))
    assert {pair: (t.learned, t.minimum) for pair, t in again.temperatures.items()} == {
        "vector-words": (True, 0.02),
        "vector-curve": (False, 0.01),
    }


def test_the_ledger_comes_back_bound_to_the_weights(folder):
    ledger = load(folder).ledger
    assert ledger.unknown_reason is None
    assert ledger.status("vector", "words") == "trained"
    assert ledger.status("curve", "words") == "emergent"


def test_a_loaded_space_can_be_saved_again_and_says_the_same(folder, tmp_path):
    again = save(load(folder), tmp_path / "again")
    for name in ("space.json", "model.safetensors", "ledger.json", "ledger.media", "README.md"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_only_the_files_of_a_space_are_written(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"space.json", "model.safetensors", "ledger.json", "ledger.media", "README.md"}
    assert {path.name for path in folder.parent.iterdir()} == {"space", "site"}


def test_space_json_carries_schema_versions_and_packages(folder):
    value = json.loads((folder / "space.json").read_text())
    assert value["schema"] == 1
    assert value["torch"] == torch.__version__
    entry = value["modalities"]["vector"]
    assert (entry["implementation"], entry["package"], entry["version"], entry["contract"]) == (
        "vector",
        "bindspace-toys",
        "1.0",
        1,
    )
    assert entry["settings"]["activation"] == "tanh"
    assert entry["settings"]["depth"] == {"layers": 2, "dropout": 0.5}


def test_the_weights_file_carries_no_metadata(folder):
    data = (folder / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert "__metadata__" not in header


def test_a_local_weights_file_is_never_saved_into_a_space(space, tmp_path):
    space.configs["words"].weights = "/home/somebody/words.pt"
    folder = save(space, tmp_path / "space")
    assert "somebody" not in (folder / "space.json").read_text() + (folder / "README.md").read_text()
    assert load(folder).configs["words"].weights is None


def test_loading_leaves_the_random_state_alone(folder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(folder)
    assert torch.equal(torch.rand(3), expected)


def test_tied_tensors_are_saved_and_come_back_tied(space, tmp_path):
    encoder = space.towers["vector"].encoder
    encoder.blocks[2].weight = encoder.blocks[4].weight
    again = load(save(space, tmp_path / "space"))
    assert torch.equal(again.embed(vector=ITEMS["vector"])["vector"], space.embed(vector=ITEMS["vector"])["vector"])


def test_weights_of_half_precision_are_read_into_full_precision(folder, space):
    path = folder / "model.safetensors"
    save_file({name: t.half() if t.is_floating_point() else t for name, t in load_file(path).items()}, path)
    z = load(folder).embed(**ITEMS)
    assert all(torch.allclose(z[name], vectors, atol=1e-2) for name, vectors in space.embed(**ITEMS).items())


def test_a_device_that_is_not_there_is_one_sentence(folder):
    refused(folder, "cannot put the space on 'nowhere'", device="nowhere")


# --- a part of a space


def test_a_part_is_built_alone_and_gives_the_same_vectors(space, folder):
    part = load(folder, modalities=["words", "vector"])
    assert part.modalities == ["vector", "words"]
    assert list(part.temperatures) == ["vector-words"]
    assert torch.equal(part.embed(words=ITEMS["words"])["words"], space.embed(words=ITEMS["words"])["words"])
    assert part.ledger.status("curve", "words") == "emergent"


def test_a_saved_part_drops_what_only_the_others_learned(space, tmp_path):
    space.ledger.pairs["curve", "vector"].gradient = {"curve"}
    part = load(save(space, tmp_path / "space"), modalities=["words", "vector"])
    assert part.ledger.trained_pairs() == [("curve", "vector"), ("vector", "words")]
    assert load(save(part, tmp_path / "part")).ledger.trained_pairs() == [("vector", "words")]


def test_a_part_reads_only_its_own_tensors(folder, monkeypatch):
    read = []
    real = safetensors.safe_open

    class Spy:
        def __init__(self, *args, **kwargs):
            self.file = real(*args, **kwargs)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def __getattr__(self, name):
            return getattr(self.file, name)

        def get_tensor(self, name):
            read.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr(bundle, "safe_open", Spy)
    load(folder, modalities=["words"])
    assert sorted(read) == [
        "towers.words.encoder.table.weight",
        "towers.words.head.0.bias",
        "towers.words.head.0.weight",
        "towers.words.head.1.weight",
    ]


def test_a_part_needs_only_its_own_plugins(space, folder):
    edit(folder, lambda value: value["modalities"]["curve"].update(implementation="elsewhere"))
    assert load(folder, modalities=["words"]).modalities == ["words"]
    refused(folder, "elsewhere")


def test_an_unknown_part_is_answered_with_the_closest_and_the_list(folder):
    refused(folder, r"unknown modality of this space 'wrods': did you mean 'words'\?", modalities=["wrods"])
    refused(folder, r"expected a list of modalities, got a string: write \['words'\]", modalities="words")
    refused(folder, "expected at least one modality", modalities=[])


# --- writing: whole or not at all


def test_a_new_space_takes_the_place_of_an_older_one(space, folder):
    space.embed(words=["a"])
    with torch.no_grad():
        space.towers["words"].encoder.table.weight.add_(1)
    save(space, folder)
    assert torch.equal(load(folder).embed(words=["a b"])["words"], space.embed(words=["a b"])["words"])
    assert {path.name for path in folder.parent.iterdir()} == {"space", "site"}


@pytest.mark.parametrize("step", ["save_file", "write_json", "sha256", "model_card"])
def test_a_save_that_fails_on_the_way_leaves_the_older_space_and_nothing_else(space, folder, monkeypatch, step):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fails(*args, **kwargs):
        raise RuntimeError("power cut")

    monkeypatch.setattr(bundle, step, fails)
    for target in (folder, folder.parent / "fresh"):
        with pytest.raises(RuntimeError, match="power cut"):
            save(space, target)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in folder.parent.iterdir()} == {"space", "site"}


def test_a_rename_that_fails_brings_the_older_space_back(space, folder, monkeypatch):
    real, calls = Path.rename, []

    def rename(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(
        UserError, match=r"cannot write .*space: No space left on device: choose another folder or make room"
    ):
        save(space, folder)
    monkeypatch.undo()
    assert {path.name for path in folder.parent.iterdir()} == {"space", "site"}
    assert (folder / "model.safetensors").is_file()


def test_a_folder_that_holds_something_else_is_not_replaced(space, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("Call me Ishmael.")
    with pytest.raises(
        UserError, match=r"holds 'chapter1\.tex', which does not belong to a space: choose another folder"
    ):
        save(space, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "Call me Ishmael."


def test_a_folder_that_cannot_be_made_is_one_sentence(space, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*choose another folder or make room"):
        save(space, tmp_path / "file" / "space")


def test_a_setting_that_could_not_be_loaded_is_refused_before_anything_is_written(space, tmp_path):
    space.configs["curve"].label = "../../etc/passwd"
    with pytest.raises(UserError, match=r"modality\.curve\.label: .*paths and URLs are never followed"):
        save(space, tmp_path / "space")
    space.configs["curve"].label = None
    space.configs["curve"].width = np.int64(12)
    with pytest.raises(UserError, match=r"modality\.curve\.width: expected a whole number"):
        save(space, tmp_path / "space")
    assert not (tmp_path / "space").exists()


def test_a_modality_that_is_not_registered_cannot_be_saved(install_toys, tmp_path):
    class Private(install_toys.WordsConfig):
        pass

    with pytest.raises(PluginError, match="is not registered"):
        save(Space({"words": Private()}, 4, "words"), tmp_path / "space")


# --- the model card


def test_the_card_says_what_a_stranger_needs(space, tmp_path):
    text = (save(space, tmp_path / "space", card="| R@10 |\n| --- |\n| 0.7 |") / "README.md").read_text()
    assert "space = bindspace.load(" in text
    assert "six finite numbers: an .npy file or an array \\| no more" in text
    assert "| vector-words | 1 | 3 | - |" in text
    assert "| curve-words | emergent |" in text
    assert "| 0.7 |" in text
    assert "not a proof" in text


def test_the_card_of_a_space_without_ledger_says_so(space, tmp_path):
    space.ledger = None
    folder = save(space, tmp_path / "space")
    assert "Not recorded: the space has no ledger." in (folder / "README.md").read_text()
    assert not (folder / "ledger.json").exists()
    assert load(folder).ledger.status("vector", "words") == "unknown"


# --- the ledger of a folder that was changed


def test_swapped_weights_make_every_status_unknown(space, folder, tmp_path):
    with torch.no_grad():
        space.towers["words"].encoder.table.weight.add_(1)
    other = save(space, tmp_path / "other")
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    ledger = load(folder).ledger
    assert ledger.status("vector", "words") == ledger.status("curve", "words") == "unknown"
    assert "other weights" in ledger.unknown_reason


def test_an_edited_ledger_makes_every_status_unknown(folder):
    path = folder / "ledger.json"
    path.write_text(path.read_text().replace('"curve-words": "emergent"', '"curve-words": "trained"'))
    assert load(folder).ledger.status("vector", "words") == "unknown"


def test_an_unknown_ledger_stays_unknown_when_the_space_is_saved_again(folder, tmp_path):
    (folder / "ledger.media").write_bytes(b"")
    again = load(save(load(folder), tmp_path / "again"))
    assert again.ledger.status("vector", "words") == "unknown"
    assert "ledger.media" in again.ledger.unknown_reason


# --- a stranger's space.json


def settings(name: str, **values):
    """An edit of one modality's settings."""
    return lambda value: value["modalities"][name]["settings"].update(values)


def entry(name: str, **values):
    """An edit of one modality's entry."""
    return lambda value: value["modalities"][name].update(values)


HOSTILE = {
    "an interpolation": (settings("curve", label="${oc.env:HOME}"), r"label: .*never followed"),
    "an interpolation in a number": (settings("curve", width="${width}"), r"width: expected a whole number"),
    "an absolute path": (settings("curve", label="/etc/passwd"), "never followed"),
    "a path upwards": (settings("curve", label="a/../../b"), "never followed"),
    "a home": (settings("curve", label="~/.ssh/id_rsa"), "never followed"),
    "a drive": (settings("curve", label="C:\\Users"), "never followed"),
    "a share": (settings("curve", label="\\\\host\\share"), "never followed"),
    "a URL": (settings("curve", label="https://example.org/x"), "never followed"),
    "a zero byte": (settings("curve", label="a\0b"), "never followed"),
    "a long string": (settings("curve", label="x" * 10**6), "never followed"),
    "a weights file": (settings("curve", weights="weights.pt"), r"weights: expected null"),
    "an unknown setting": (settings("curve", wdith=12), r"unknown setting 'wdith': did you mean 'width'\?"),
    "a target": (settings("curve", _target_="os.system"), "unknown setting '_target_'"),
    "a target beside the settings": (entry("curve", _target_="os.system"), "unknown key '_target_'"),
    "a target on top": (lambda value: value.update(_target_="os.system"), "unknown key '_target_'"),
    "a class variable": (settings("curve", expects="anything"), "unknown setting 'expects'"),
    "a method": (settings("curve", read="x"), "unknown setting 'read'"),
    "an unknown nested setting": (
        settings("vector", depth={"layers": 2, "hooks": 1}),
        r"depth: unknown setting 'hooks'",
    ),
    "a nested wrong type": (
        settings("vector", depth={"layers": "2"}),
        r"depth\.layers: expected a whole number, got '2'",
    ),
    "a flat nested setting": (settings("vector", depth=3), "depth: expected settings by name, got 3"),
    "true for a number": (settings("curve", width=True), "width: expected a whole number, got true"),
    "a fraction for a whole number": (settings("curve", width=12.0), r"expected a whole number, got 12\.0"),
    "null for a number": (settings("curve", width=None), "expected a whole number, got null"),
    "a list for a number": (settings("curve", width=[12]), "expected a whole number"),
    "a huge number": (settings("curve", width=10**40), "expected a whole number from"),
    "an unknown choice": (
        settings("curve", head="cubic"),
        "head: unknown value 'cubic': .*available: identity, linear, metric, mlp",
    ),
    "a string for a list": (settings("curve", scales="1,2"), "scales: expected a list"),
    "a list of the wrong kind": (settings("curve", scales=[1.0, "2"]), r"scales\[1\]: expected a number"),
    "a long list": (settings("curve", scales=[1.0] * 100_000), "scales: expected a list"),
    "absurd width": (settings("curve", width=2**30), "build no towers \\(OverBudget"),
    "absurd depth": (settings("vector", depth={"layers": 2**30}), "build no towers \\(OverBudget"),
    "absurd dim": (lambda value: value.update(dim=2**31 - 1), "build no towers \\(OverBudget"),
    "negative width": (settings("curve", width=-8), "build no towers"),
    "another width": (settings("curve", width=16), "expected F32 .16.* got F32 .12.*do not match"),
    "another dim": (lambda value: value.update(dim=5), "do not match"),
    "less depth": (settings("vector", depth={"layers": 1}), "has no tensor|is not in"),
    "more depth": (settings("vector", depth={"layers": 3}), "has no tensor"),
    "dim zero": (lambda value: value.update(dim=0), "dim: expected a number above 0"),
    "dim as text": (lambda value: value.update(dim="4"), "dim: expected a whole number"),
    "settings as a list": (entry("curve", settings=[]), "settings: expected settings by name"),
    "a path as implementation": (entry("curve", implementation="../../evil"), "implementation: .*never followed"),
    "a module as implementation": (entry("curve", implementation="os:system"), "expected a name"),
    "an absent plugin": (
        entry("curve", implementation="sonar", package="bindspace-sonar", version="2.0"),
        r"needs the plugin 'sonar' of the package 'bindspace-sonar' \(2\.0\), which is not installed",
    ),
    "a plugin of another modality": (entry("curve", implementation="words"), "serves 'words', not 'curve'"),
    "a wrong contract": (entry("curve", contract=2), "written for contract 2, its plugin supports 1"),
    "a contract as text": (entry("curve", contract="1"), "contract: expected a whole number"),
    "no implementation": (lambda value: value["modalities"]["curve"].pop("implementation"), "expected a key"),
    "an entry that is none": (lambda value: value["modalities"].update(curve=7), "expected values by name"),
    "a modality that is a path": (
        lambda value: value["modalities"].update({"../x": value["modalities"].pop("curve")}),
        "expected a name of lower-case letters",
    ),
    "no modalities": (lambda value: value.update(modalities={}, temperatures={}), "expected at least one modality"),
    "modalities as a list": (lambda value: value.update(modalities=["curve"]), "modalities: expected values by name"),
    "a pivot that is a path": (lambda value: value.update(pivot="/etc"), "pivot: .*never followed"),
    "a temperature of nobody": (
        lambda value: value["temperatures"].update({"vector-sonar": {"learned": True, "minimum": 0.01}}),
        "temperatures.vector-sonar: expected two modalities of this space",
    ),
    "a temperature the wrong way round": (
        lambda value: value["temperatures"].update({"words-vector": value["temperatures"].pop("vector-words")}),
        "the pivot first",
    ),
    "a temperature too cold": (
        lambda value: value["temperatures"]["vector-words"].update(minimum=-1),
        "minimum: expected a number above 0",
    ),
    "a temperature that is not told": (
        lambda value: value["temperatures"]["vector-words"].pop("learned"),
        "expected a key 'learned'",
    ),
    "another temperature that is missing": (lambda value: value["temperatures"].clear(), "is not in"),
    "a schema of the future": (lambda value: value.update(schema=2), "schema 2, this bindspace supports schema 1"),
    "no schema": (lambda value: value.pop("schema"), "has schema None"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_space_json_gets_one_sentence(folder, name):
    change, match = HOSTILE[name]
    edit(folder, change)
    refused(folder, match)


TEXTS = {
    "nothing": ("", "is damaged"),
    "half of it": ('{"schema": 1, "mod', "is damaged"),
    "deep nesting": ('{"schema":' + "[" * 500_000, "is damaged"),
    "another kind of JSON": ("[1]", "expected values by name"),
    "NaN": ('{"schema": 1, "dim": NaN}', "NaN is no JSON"),
    "infinity": ('{"schema": 1, "dim": Infinity}', "Infinity is no JSON"),
    "a key twice": ('{"schema": 1, "schema": 1}', "a duplicate key"),
    "a number of many digits": ('{"schema": 1, "dim": ' + "9" * 5000 + "}", "is damaged"),
    "bytes that are no text": ("\udcff\udcfe", "is damaged"),
    "five megabytes": (" " * (5 << 20), "larger than 4 MiB"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_damaged_space_json_gets_one_sentence(folder, name):
    text, match = TEXTS[name]
    (folder / "space.json").write_bytes(text.encode(errors="surrogateescape"))
    refused(folder, match)


def test_a_number_too_large_for_a_float_is_refused(folder):
    text = (folder / "space.json").read_text()
    (folder / "space.json").write_text(text.replace('"dropout": 0.5', '"dropout": 1e999', 1))
    refused(folder, "dropout: expected a number from")


def test_settings_bound_memory_before_it_is_asked_for(folder, monkeypatch):
    given = []
    real = torch.nn.Parameter.__new__
    monkeypatch.setattr(
        torch.nn.Parameter, "__new__", lambda cls, data, *a: (given.append(data.numel()), real(cls, data, *a))[1]
    )
    edit(folder, settings("curve", width=2**26))
    refused(folder, "far more memory than the weights")
    assert given
    assert max(given) < 1000


def test_a_setting_that_the_file_does_not_name_keeps_its_default(folder, space):
    edit(folder, lambda value: value["modalities"]["words"]["settings"].pop("bind"))
    assert load(folder).configs["words"] == space.configs["words"]


def test_nothing_of_a_hostile_folder_is_imported_or_opened(folder, monkeypatch):
    (folder / "evil.py").write_text("raise SystemExit('executed')")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    (folder / "conf").mkdir()
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (opened.append(self), real(self, *a, **k))[1])
    monkeypatch.setattr(torch, "load", None)
    load(folder)
    mine = {path.name for path in opened if path.is_relative_to(folder)}
    assert mine == {"space.json", "model.safetensors", "ledger.json", "ledger.media"}


# --- damaged or swapped weights


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
def test_truncated_weights_are_named_with_the_next_step(folder, keep):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    message = refused(folder, "is damaged")
    assert "model.safetensors" in message
    assert "copy the whole space folder again" in message


def rewrite(folder: Path, change) -> None:
    """Changes the tensors of a folder."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_a_tensor_of_another_kind_is_refused(folder):
    rewrite(folder, lambda t: t.update({"towers.words.head.0.bias": torch.zeros(8, dtype=torch.int64)}))
    refused(folder, r"towers\.words\.head\.0\.bias: expected F32 \(8,\) as space\.json says, got I64 \(8,\)")


def test_a_missing_tensor_is_named(folder):
    rewrite(folder, lambda t: t.pop("towers.words.head.0.bias"))
    refused(folder, r"has no tensor 'towers\.words\.head\.0\.bias'")


def test_a_tensor_of_nobody_is_refused_even_where_only_a_part_is_loaded(folder):
    rewrite(folder, lambda t: t.update({"extra": torch.zeros(1)}))
    refused(folder, "has a tensor 'extra'", modalities=["words"])


def test_a_header_that_promises_more_than_there_is_is_refused(folder):
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    refused(folder, "is damaged")


@pytest.mark.parametrize("name", ["space.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, name.replace(".", r"\."))


def test_a_run_folder_is_answered_with_the_space_in_it(folder):
    refused(folder.parent, "did you mean .*space")


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    refused(tmp_path / "nowhere", r"there is no .*space\.json: expected a space folder")


@pytest.mark.parametrize("name", ["space.json", "model.safetensors", "ledger.json", "ledger.media"])
def test_a_link_that_leads_out_of_the_folder_is_refused(folder, tmp_path, name):
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    refused(folder, "is a link that leads out of its folder")


def test_a_link_to_the_folder_itself_is_followed(folder, tmp_path):
    (tmp_path / "latest").symlink_to(folder)
    assert load(tmp_path / "latest").modalities == ["vector", "curve", "words"]


def test_a_pipe_in_the_place_of_a_file_does_not_hang(folder):
    for name in ("model.safetensors", "space.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder, name.replace(".", r"\."))


# --- plugins that changed since


def test_a_plugin_that_no_longer_loads_gets_one_sentence(folder, monkeypatch):
    import toys

    monkeypatch.setattr(toys.CurveConfig, "contract", 2)
    refused(folder, "was written for contract 2, this bindspace supports contract 1")


def test_a_name_that_two_packages_claim_is_refused_with_both(folder, tmp_path, monkeypatch):
    from installing import write_distribution

    write_distribution(tmp_path / "other", "rival", "3.0", curve="rival:CurveConfig")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    registry.installed.cache_clear()
    refused(folder, "claimed by .*bindspace-toys")

"""`bindspace import` and `bindspace export`: foreign weights through a format that a stranger brings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bindspace.contract import registry
from bindspace.contract.errors import PluginError

FORMAT = '''
from dataclasses import dataclass
from bindspace import UserError
from bindspace import FormatConfig

@dataclass(kw_only=True)
class TapeFormat(FormatConfig):
    """Reels of toy towers."""

    modalities = ("vector", "words")
    suffixes = (".tape",)

    width: int = 8  # of both towers

    def load(self, path, modalities):
        import torch
        from safetensors.torch import load
        from toys import VectorConfig, WordsConfig
        from bindspace.ledger import Ledger
        from bindspace.space import Space

        data = path.read_bytes()
        if len(data) < 8:
            raise UserError(f"{path} is no tape")
        kinds = {"vector": VectorConfig, "words": WordsConfig}
        names = modalities or list(kinds)
        space = Space({name: kinds[name](width=self.width) for name in names}, dim=4, pivot="vector")
        state = {name: value for name, value in load(data).items() if name.split(".")[1] in names}
        space.load_state_dict(state)
        space.add_temperature("vector", "words", 0.05, learned=False) if len(names) == 2 else None
        space.ledger = Ledger.declared(names, "the makers of tape", {("vector", "words"): "reel 7"})
        return space.eval()

    def save(self, space, path):
        from safetensors.torch import save

        state = {name: value for name, value in space.state_dict().items() if name.startswith("towers.")}
        path.write_bytes(save(state)[: 20 if self.width == 9 else None])
        if self.width == 9:
            raise UserError("the tape broke")
        return path
'''


@pytest.fixture(autouse=True)
def tape(install_toys, install, tmp_path, monkeypatch):
    """The format `tape`, in an empty folder."""
    files = {"bindspace_tape/__init__.py": FORMAT}
    install("bindspace-tape", files, group=registry.FORMATS, tape="bindspace_tape:TapeFormat")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def reel():
    """A file of that format."""
    from safetensors.torch import save_file
    from toys import VectorConfig, WordsConfig

    from bindspace.space.space import Space

    space = Space({"vector": VectorConfig(), "words": WordsConfig()}, dim=4, pivot="vector")
    save_file(space.state_dict(), "reel.tape")
    return Path("reel.tape")


def test_foreign_weights_become_a_space_and_the_same_file_again(call, reel):
    import bindspace

    outcome = call("import", "tape", "weights=reel.tape", "out=space")
    assert outcome.code == 0, outcome.err
    assert outcome.out == (
        "space: vector 192, words 304 parameters; declared: vector-words on reel 7, by the makers of tape\n"
    )
    assert outcome.err == ""
    space = bindspace.load("space")
    assert space.ledger.status("vector", "words") == "declared-trained"
    assert space.ledger.towers["words"].origin == "declared"
    card = Path("space/README.md").read_text()
    assert "Declared, not recorded: vector-words on reel 7, by the makers of tape." in card
    assert "| vector-words | declared-trained |" in card
    outcome = call("export", "tape", "space=space", "out=again.tape")
    assert outcome.out == "again.tape: vector, words (0.0 MB)\n"
    assert Path("again.tape").read_bytes() == reel.read_bytes()


def test_only_what_is_asked_for_is_built_and_its_leg_stays_declared(call, reel):
    import bindspace

    assert call("import", "tape", "weights=reel.tape", "out=space", "modality=words").code == 0
    space = bindspace.load("space")
    assert space.modalities == ["words"]
    assert [each["pair"] for each in space.ledger.declarations] == [["vector", "words"]]
    assert call("export", "tape", "space=space", "out=b.tape").out.startswith("b.tape: words (")


def test_what_a_format_cannot_hold_is_left_out_and_named(call, install_toys):
    from bindspace.space.bundle import save
    from bindspace.space.space import Space

    save(Space({"words": install_toys.WordsConfig(), "curve": install_toys.CurveConfig()}, 4, "curve").eval(), "mixed")
    outcome = call("export", "tape", "space=mixed", "out=w.tape")
    assert outcome.out.endswith("; left out, since the format does not support it: curve\n")
    save(Space({"curve": install_toys.CurveConfig()}, 4, "curve").eval(), "lone")
    outcome = call("export", "tape", "space=lone", "out=x.tape")
    assert outcome.code == 2
    assert "supports vector, words, but lone has curve: none in common" in outcome.err


def test_what_takes_a_while_is_announced(call, reel, monkeypatch):
    from bindspace.cli import formats

    monkeypatch.setattr(formats, "LONG", 100)
    assert call("import", "tape", "weights=reel.tape", "out=space").err == "reading reel.tape (0.0 MB)\n"


def test_help_lists_formats_with_modalities_and_settings(call):
    for verb in ("import", "export"):
        text = call(verb, "--help").out
        assert text.startswith(f"usage: bindspace {verb} FORMAT")
        assert "tape: Reels of toy towers.\n  modality=[vector,words]\n  width=8  # of both towers" in text
        assert call(verb, "tape", "--help").out.count("modality=[vector,words]") == 1


def test_plugins_lists_formats_with_what_they_hold(call):
    lines = [line.split() for line in call("plugins").out.splitlines()]
    assert ["tape", "vector", "words", "bindspace-tape", "1.0"] in lines


def test_mistakes_are_answered_before_torch_is_imported(tmp_path):
    code = """
import sys
from bindspace.cli import main
codes = [main(["import"]), main(["import", "tpae"]), main(["import", "tape", "weights=no", "out=x"])]
codes += [main(["import", "--help"]), main(["export", "tape", "space=no", "out=x.tape"])]
print(codes, "torch" in sys.modules)
"""
    path = ":".join([str(tmp_path / "site"), *sys.path])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert done.stdout.splitlines()[-1] == "[2, 2, 2, 0, 2] False", done


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "a format is missing: write bindspace import FORMAT ... (available: "),
        (["tpae", "weights=reel.tape", "out=s"], "unknown format 'tpae': did you mean 'tape'?"),
        (["tape", "out=s"], "weights is missing: write weights=FILE"),
        (["tape", "weights=reel.tape"], "out is missing: write out=FOLDER"),
        (["tape", "weights=no.tape", "out=s"], "weights=no.tape: expected a file, found none: check the path"),
        (["tape", "weights=reel.tape", "out=full"], "out=full exists already: choose another folder, or remove"),
        (["tape", "weights=reel.tape", "out=reel.tape"], "out=reel.tape exists already"),
        (["tape", "weights=reel.tape", "out=s", "modality=[wrods]"], "did you mean 'words'?"),
        (["tape", "weights=reel.tape", "out=s", "modality=[]"], "modality is empty: name some of vector, words"),
        (["tape", "weights=reel.tape", "out=s", "widht=8"], "unknown setting 'widht': did you mean 'width'?"),
        (["tape", "weights=reel.tape", "out=s", "width=wide"], "width: expected a whole number, got 'wide'"),
        (["tape", "weights=short.tape", "out=s"], "short.tape is no tape"),
    ],
)
def test_what_cannot_be_imported_is_named_and_nothing_is_written(refused, reel, arguments, sentence):
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    Path("short.tape").write_bytes(b"12")
    before = sorted(Path().rglob("*"))
    assert sentence in refused("import", *arguments)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tape", "space=space"], "out is missing: write out=FILE"),
        (["tape", "out=x.tape"], "space is missing: write space=FOLDER"),
        (["tape", "space=space", "out=x.pth"], "out=x.pth: expected a name that ends in .tape"),
        (["tape", "space=space", "out=reel.tape"], "out=reel.tape exists already: choose another name, or remove"),
        (["tape", "space=nowhere", "out=x.tape"], "space=nowhere holds no space.json"),
        (["tape", "space=spoilt", "out=x.tape"], "space.json is damaged"),
        (["tape", "space=space", "out=x.tape", "modality=vector"], "unknown modality of this space 'vector'"),
        (["tape", "space=space", "out=x.tape", "width=9"], "the tape broke"),
    ],
)
def test_what_cannot_be_exported_is_named_and_nothing_is_written(call, refused, reel, arguments, sentence):
    assert call("import", "tape", "weights=reel.tape", "out=space", "modality=[words]").code == 0
    Path("spoilt").mkdir()
    Path("spoilt/space.json").write_text(json.dumps([]))
    before = sorted(Path().rglob("*"))
    assert sentence in refused("export", *arguments)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "(FormatConfig):",
            ":\n    contract = 1",
            "is not a FormatConfig: bindspace_bad:TapeFormat must be a subclass of it",
        ),
        ("@dataclass(kw_only=True)", "", "is not a dataclass"),
        ('modalities = ("vector", "words")', "contract = 7", "was written for contract 7, this bindspace supports"),
        ('modalities = ("vector", "words")', "", "does not set the class variable `modalities`"),
        ('modalities = ("vector", "words")', 'modalities = "vector"', "does not set the class variable `modalities`"),
        ("width: int", "weights: int", "has a setting 'weights', which is an argument of import and export: rename it"),
    ],
)
def test_a_format_that_breaks_the_contract_is_refused_with_the_reason(install, old, new, reason):
    source = FORMAT.replace(old, new).replace("contract = 7", 'contract = 7\n    modalities = ("words",)')
    install(
        "bindspace-bad", {"bindspace_bad/__init__.py": source}, group=registry.FORMATS, bad="bindspace_bad:TapeFormat"
    )
    with pytest.raises(PluginError) as caught:
        registry.load("bad", registry.FORMATS)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("names = modalities or list(kinds)", "names = list(kinds)", "should build words, but built vector, words"),
        ("space.ledger = Ledger", "_ = Ledger", "gives the space no ledger (Ledger.declared)"),
    ],
)
def test_a_format_that_breaks_its_word_writes_nothing(refused, install, reel, old, new, reason):
    files = {"bindspace_bad/__init__.py": FORMAT.replace(old, new)}
    install("bindspace-bad", files, group=registry.FORMATS, bad="bindspace_bad:TapeFormat")
    assert reason in refused("import", "bad", "weights=reel.tape", "out=space", "modality=words")
    assert not Path("space").exists()

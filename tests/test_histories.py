"""What the ledger says of histories that really happened: runs, resumed runs, extensions, imports, joined spaces.

Each is made by the commands and functions that people have, and each pair of its space is asked about.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from examples import write_examples
from safetensors.torch import save_file

import bindspace
from bindspace.cli import main
from bindspace.contract import registry
from bindspace.ledger.ledger import Ledger
from bindspace.space.bundle import load, save

QUICK = [
    "data=manifest", "data.batch=8", "data.workers=0", "data.val_fraction=0", "trainer.threads=1",
    "trainer.accelerator=cpu", "trainer.precision=float32", "trainer.progress=false", "trainer.checkpoint_every=2",
    "logger=csv", "dim=4", "pivot=vector", "stages=[{name: only, steps: 6}]",
]  # fmt: skip
EVENTS = 16  # of a source
FORMAT = '''
from dataclasses import dataclass
from bindspace import FormatConfig

@dataclass(kw_only=True)
class TapeFormat(FormatConfig):
    """Reels of three toy towers, of which the makers say that two legs were trained."""

    modalities = ("vector", "words", "curve")
    suffixes = (".tape",)

    def load(self, path, modalities):
        from safetensors.torch import load_file
        from toys import CurveConfig, VectorConfig, WordsConfig
        from bindspace.ledger import Ledger
        from bindspace.space import Space

        kinds = {"vector": VectorConfig, "words": WordsConfig, "curve": CurveConfig}
        names = list(modalities or kinds)
        space = Space({name: kinds[name]() for name in names}, dim=4, pivot="vector")
        space.load_state_dict({key: value for key, value in load_file(path).items() if key.split(".")[1] in names})
        legs = {("vector", "words"): "reel 7", ("vector", "curve"): "reel 8"}
        space.ledger = Ledger.declared(names, "the makers of tape", legs)
        return space.eval()

    def save(self, space, path):
        from safetensors.torch import save_file

        save_file({key: value for key, value in space.state_dict().items() if key.startswith("towers.")}, path)
        return path
'''


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, install_toys):
    """An empty folder, with the toys installed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def source(name: str, *held: str, seed: int | None = None) -> str:
    """A manifest of examples of these modalities. Media of different names differ, unless they share a `seed`."""
    seed = sum(name.encode()) if seed is None else seed
    return write_examples(Path(name), seed, EVENTS, held)


def train(out: str, modalities: str, *sources: str, more: tuple[str, ...] = ()) -> str:
    """A run from random towers; its space's folder."""
    chosen = [f"modality=[{modalities}]", f"data.train=[{','.join(sources)}]", f"out={out}"]
    assert main(["train", *QUICK, *chosen, *more]) == 0
    return f"{out}/space"


def extend(out: str, space: str, new_modality: str, *sources: str) -> str:
    """Binds a new modality to a space; the new space's folder."""
    chosen = [f"extend={space}", f"+modality={new_modality}", f"data.train=[{','.join(sources)}]", f"out={out}"]
    assert main(["train", *QUICK, *chosen]) == 0
    return f"{out}/space"


def star(out: str = "fresh") -> str:
    """The usual beginning: words and curve, each with the pivot on events of its own."""
    return train(out, "vector,words,curve", source("vw", "vector", "words"), source("vc", "vector", "curve"))


def statuses(space: str) -> dict[str, str]:
    """The status of every pair, which is the same whichever way it is asked, and in ledger.json."""
    ledger = load(space).ledger
    found = {f"{a}-{b}": ledger.status(a, b) for a, b in combinations(sorted(ledger.towers), 2)}
    assert found == {f"{a}-{b}": ledger.status(b, a) for a, b in combinations(sorted(ledger.towers), 2)}
    assert found == json.loads(Path(space, "ledger.json").read_text())["statuses"]
    return found


STAR = {"curve-vector": "trained", "vector-words": "trained", "curve-words": "emergent"}


# --- runs


def test_fresh_the_two_that_met_only_the_pivot_are_emergent():
    assert statuses(star()) == STAR


@pytest.mark.filterwarnings("default:no pair contains text")
def test_fresh_a_modality_in_no_pair_is_unlinked_with_everyone(capsys):
    pairs = ("pairs=[{of: [vector,words]},{of: [vector,curve]}]",)
    sources = source("vw", "vector", "words"), source("vc", "vector", "curve")
    space = train("fresh", "vector,words,curve,text", *sources, more=pairs)
    assert statuses(space) == STAR | dict.fromkeys(("curve-text", "text-vector", "text-words"), "unlinked")


def test_fresh_a_chain_of_listed_pairs_is_emergent_between_its_ends():
    pairs = ("pairs=[{of: [vector,curve]},{of: [curve,words]}]",)
    sources = source("vc", "vector", "curve"), source("cw", "curve", "words")
    space = train("fresh", "vector,words,curve", *sources, more=pairs)
    assert statuses(space) == {"curve-vector": "trained", "curve-words": "trained", "vector-words": "emergent"}
    assert load(space).ledger.legs("vector", "words") == [["vector", "curve", "words"]]


def test_a_star_over_fully_paired_rows_is_bridged_by_as_many_media_as_there_are_events():
    space = train("paired", "vector,words,curve", source("all", "vector", "words", "curve"))
    assert statuses(space) == STAR | {"curve-words": "bridged"}
    assert load(space).ledger.bridge("curve", "words") == EVENTS


def test_a_star_over_two_sources_of_the_same_pivot_media_is_bridged_too():
    """Two manifests, other ids, and equal pictures."""
    sources = source("vw", "vector", "words", seed=3), source("vc", "vector", "curve", seed=3)
    assert statuses(train("same", "vector,words,curve", *sources)) == STAR | {"curve-words": "bridged"}


class Killed(bindspace.UserError):
    """In the place of a kill."""


@pytest.mark.parametrize("saves", [1, 2])
def test_resumed_the_record_is_that_of_a_run_that_never_stopped(monkeypatch, saves):
    from bindspace.training.callbacks import SaveLast

    unbroken, seen, whole = star("unbroken"), [], SaveLast._save

    def kill(self, trainer):
        whole(self, trainer)
        seen.append(trainer.global_step)
        if len(seen) == saves:
            raise Killed("killed")

    with monkeypatch.context() as patch:
        patch.setattr(SaveLast, "_save", kill)
        again = ["modality=[vector,words,curve]", "data.train=[{path: vw},{path: vc}]", "out=resumed"]
        assert main(["train", *QUICK, *again]) == 2
    assert not Path("resumed/space").exists()
    assert main(["train", "run=resumed"]) == 0
    assert statuses("resumed/space") == statuses(unbroken) == STAR
    for name in ("ledger.json", "ledger.media"):
        assert Path("resumed/space", name).read_bytes() == Path(unbroken, name).read_bytes()


# --- extensions


def test_extended_the_new_modality_is_emergent_with_all_that_the_space_had():
    new = extend("new", star(), "text", source("vt", "vector", "text"))
    assert statuses(new) == STAR | {"text-vector": "trained", "curve-text": "emergent", "text-words": "emergent"}


def test_extended_over_pivot_media_of_the_old_run_the_new_modality_is_bridged_with_what_met_them():
    old = train("old", "vector,words,curve", source("vw", "vector", "words", seed=3), source("vc", "vector", "curve"))
    new = extend("new", old, "text", source("vt", "vector", "text", seed=3))
    assert statuses(new) == STAR | {"text-vector": "trained", "curve-text": "emergent", "text-words": "bridged"}
    assert load(new).ledger.bridge("text", "words") == EVENTS


@pytest.mark.filterwarnings("default:the ledger of")
def test_extended_from_a_space_whose_ledger_was_lost_nothing_is_known_of_it_any_more():
    old = star()
    Path(old, "ledger.json").unlink()
    new = extend("new", old, "text", source("vt", "vector", "text"))
    assert set(statuses(new).values()) == {"unknown"}


# --- weights of others


@pytest.fixture
def tape(install):
    """Three foreign towers as the space `imported`, and the format that read them."""
    install(
        "bindspace-tape",
        {"bindspace_tape/__init__.py": FORMAT},
        group=registry.FORMATS,
        tape="bindspace_tape:TapeFormat",
    )
    from toys import CurveConfig, VectorConfig, WordsConfig

    configs = {"vector": VectorConfig(), "words": WordsConfig(), "curve": CurveConfig()}
    save_file(bindspace.Space(configs, dim=4, pivot="vector").state_dict(), "reel.tape")
    assert main(["import", "tape", "weights=reel.tape", "out=imported"]) == 0
    return "imported"


DECLARED = {
    "curve-vector": "declared-trained",
    "vector-words": "declared-trained",
    "curve-words": "declared-emergent",
}


def test_imported_all_is_as_its_makers_declare(tape):
    assert statuses(tape) == DECLARED
    assert load(tape).ledger.declared_of("words", "vector") == ["vector-words on reel 7, by the makers of tape"]


def test_extended_after_import_the_new_modality_is_emergent_and_the_rest_stays_declared(tape):
    new = extend("new", tape, "text", source("vt", "vector", "text"))
    assert statuses(new) == DECLARED | {"text-vector": "trained", "curve-text": "emergent", "text-words": "emergent"}


def test_exported_and_imported_again_what_was_on_record_is_only_declared(tape):
    assert main(["export", "tape", f"space={star()}", "out=mine.tape"]) == 0
    assert main(["import", "tape", "weights=mine.tape", "out=again"]) == 0
    assert statuses("again") == DECLARED


def test_a_tower_that_began_from_a_file_is_unknown_with_everyone_and_hides_no_other_pair():
    first = load(train("first", "vector,text", source("vt", "vector", "text")))
    save_file(first.towers["text"].encoder.state_dict(), "text.safetensors")
    sources = source("vt2", "vector", "text"), source("vw", "vector", "words"), source("vc", "vector", "curve")
    more = ("modality.text.weights=text.safetensors",)
    space = train("second", "vector,words,curve,text", *sources, more=more)
    assert statuses(space) == STAR | dict.fromkeys(("curve-text", "text-vector", "text-words"), "unknown")


@pytest.mark.filterwarnings("default")  # peft warns of toys
def test_adapters_that_are_merged_into_the_weights_leave_the_record_as_it_is():
    pytest.importorskip("peft")
    sources = source("vw", "vector", "words"), source("vc", "vector", "curve")
    space = train("tuned", "vector,words,curve", *sources, more=("modality.curve.tune.lora.rank=2",))
    assert not any("lora" in name for name in load(space).state_dict())
    assert statuses(space) == STAR


# --- two spaces in one


def joined(one: str, other: str, new_modality: str) -> str:
    """The first space with one tower of the second, by the library; the ledger takes both records over."""
    space, more = load(one), load(other, modalities=[new_modality])
    ledger = Ledger.new({})
    ledger.inherit(load(other).ledger)
    ledger.inherit(space.ledger)
    space.add_towers(more)
    space.ledger = ledger
    save(space, "joined")
    return "joined"


@pytest.mark.parametrize(("seed", "between"), [(None, "emergent"), (3, "bridged")])
def test_two_extensions_of_one_space_joined_are_bridged_if_their_pivot_media_are_shared(seed, between):
    base = train("base", "vector,words", source("vw", "vector", "words"))
    with_curve = extend("with_curve", base, "curve", source("vc", "vector", "curve", seed=seed))
    with_text = extend("with_text", base, "text", source("vt", "vector", "text", seed=seed))
    space = joined(with_curve, with_text, "text")
    assert statuses(space) == STAR | {"text-vector": "trained", "text-words": "emergent", "curve-text": between}


def test_of_towers_that_two_records_tell_of_only_what_both_know_is_known(tape):
    """The same weights twice: from the run, and by way of a file that only declares what was trained."""
    first = star()
    assert main(["export", "tape", f"space={first}", "out=mine.tape"]) == 0
    assert main(["import", "tape", "weights=mine.tape", "out=again"]) == 0
    space = joined(first, extend("declared", "again", "text", source("vt", "vector", "text")), "text")
    assert load(space).ledger.towers["words"].origin == "declared"
    new_modality = {"text-vector": "trained", "curve-text": "emergent", "text-words": "emergent"}
    assert statuses(space) == STAR | {"curve-words": "declared-emergent"} | new_modality

"""Distillation through the pivot: what is used, recorded and repeated."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from making import killed_after, train_star, write_star
from plain import ByHand, Left, plain_batch, plain_space, quiet_trainer

from bindspace import Source
from bindspace.cli import main
from bindspace.contract.errors import UserError
from bindspace.data import BadRows, Batch, Manifest
from bindspace.data.reading import Medium
from bindspace.ledger.ledger import Ledger
from bindspace.settings.run import Pair, TrainRun
from bindspace.space.bundle import load
from bindspace.training import BindModule
from bindspace.training.references import References, drawn, find_references
from bindspace.training.run import check_references
from bindspace.training.terms import DistillationConfig, Target

TERM = "terms=[{use: distillation, of: [curve,words], weight: 2.0, count: 20}]"


@pytest.fixture
def data(tmp_path, monkeypatch, install_toys):
    """A star of toys."""
    monkeypatch.chdir(tmp_path)
    write_star()


def weights(out: str) -> dict[str, torch.Tensor]:
    return load(f"{out}/space").state_dict()


def test_it_is_on_record_as_unpaired_and_the_pair_stays_emergent(data):
    assert train_star(TERM) == 0
    ledger = load("run/space").ledger
    record = ledger.pairs["curve", "words"]
    assert (record.paired.steps, record.unpaired.steps) == (0, 6)
    assert record.unpaired.examples == ledger.pairs["curve", "vector"].paired.examples == 48
    assert len(record.unpaired.media["words"]) <= 20
    assert record.shaped_by == ["vector"]
    hashes = {name: Manifest.load(Source(name), ["vector"]).sha256 for name in ("vw", "vc")}
    assert record.sources == {hashes["vc"]: 48, hashes["vw"]: 0}
    assert ledger.status("curve", "words") == "emergent"
    assert ledger.trained_pairs() == [("curve", "vector"), ("vector", "words")]
    cells = json.loads(Path("run/benchmark/report.json").read_text())["pairs"]
    shown = {(cell["query"], cell["gallery"]): cell for cell in cells}
    assert shown["curve", "words"]["unpaired_steps"] == 6
    assert shown["curve", "words"]["status"] == "emergent"
    assert shown["curve", "vector"]["unpaired_steps"] == 0


def test_it_moves_the_learner_alone_and_is_logged(data):
    assert train_star(out="without") == 0
    assert train_star(TERM, "trainer.log_every=1") == 0
    before, after = weights("without"), weights("run")
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"curve", "vector-curve"}  # its tower, and the temperature of its pair, which learns along
    with Path("run/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("train/distillation/curve-words/loss")]
    assert len(rows) == 6
    assert all(1 <= float(row["train/distillation/curve-words/perplexity"]) <= 20 for row in rows)


@pytest.mark.parametrize("target", [target.name for target in Target])
def test_a_run_that_was_killed_goes_on_to_the_same_weights(data, target):
    term = TERM.replace("count", f"target: {target}, count")
    assert train_star(term, out="whole") == 0
    with killed_after(3) as seen:  # two of the first stage, and the third step of the second
        assert train_star(term, out="cut") == 2
    assert seen == [3, 6, 3]
    assert main(["train", "run=cut"]) == 0
    first, second = weights("whole"), weights("cut")
    assert all(torch.equal(first[name], second[name]) for name in first)
    one, other = (load(f"{out}/space").ledger.summary()["pairs"] for out in ("whole", "cut"))
    assert one == other


def test_a_teacher_that_is_trained_or_has_no_reference_vectors_is_refused_before_anything_is_trained(data, capsys):
    assert train_star(TERM, stages="stages=[{name: joint, steps: 3}]") == 2
    assert "vector is trained in stage 'joint' as well, and a teacher has to be frozen" in capsys.readouterr().err
    assert not Path("run").exists()
    assert train_star(TERM.replace("words", "vector")) == 2
    assert "expected two modalities other than the pivot vector" in capsys.readouterr().err
    early = "stages=[{name: b, steps: 2, pairs: [vector-curve], freeze: [vector]},{name: a, steps: 2, pairs: [rest]}]"
    assert train_star(TERM, stages=early) == 2
    assert "vector is untrained before stage 'b', and a teacher has to be trained" in capsys.readouterr().err
    run = TrainRun(pivot="middle", modality=plain_space().configs, terms=[DistillationConfig(of=["left", "right"])])
    with pytest.raises(UserError, match="reference vectors of right come from sources of middle and right"):
        check_references(run, [], [], set())


@pytest.mark.parametrize(
    ("term", "sentence"),
    [
        ("of: [curve]", "expected 2 modalities, each once, got curve"),
        ("of: [curve,wrods]", "unknown modality in terms.0 (distillation) 'wrods': did you mean 'words'?"),
        ("of: [curve,words], weight: -1", "expected a weight of 0 or more, got -1.0"),
        ("of: [curve,words], temperature: 0", "expected temperature to be more than 0, got 0.0"),
        ("of: [curve,words], count: 1", "expected a count of 2 or more, or 0 for all, got 1"),
        ("of: [curve,words], stages: [c]", "unknown stage in terms.0 (distillation) 'c'"),
        ("of: [curve,words], target: mean", "terms[0].target: unknown value 'mean'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(data, capsys, term, sentence):
    assert train_star(f"terms=[{{use: distillation, {term}}}]") == 2
    assert sentence in capsys.readouterr().err


def manifest(path: Path, rows: list[dict]) -> Manifest:
    path.mkdir()
    (path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Manifest.load(Source(str(path)), ["middle", "right"])


class Cells(Left):
    """Cells of numbers, read as they are."""

    def read(self, source, info):
        return np.asarray(source, dtype=np.float32)

    def prepare(self, samples, *, seeds=None, augment="weak"):
        return {"x": torch.from_numpy(np.stack(samples))}


class Middle(Cells):
    modality = "middle"


class Right(Cells):
    modality = "right"


def numbers(seed: int) -> list[float]:
    return np.random.default_rng(seed).normal(size=4).round(3).tolist()


@pytest.fixture
def planted(tmp_path) -> list[Manifest]:
    """A source of pairs alone, and one whose rows hold all three, one of them under another id and no group."""
    apart = [{"id": f"apart{i}", "middle": [numbers(i)], "right": [numbers(50 + i)]} for i in range(4)]
    full = [
        {"id": f"full{i}", "group": f"g{i % 2}", "middle": [numbers(100 + i)], "right": [numbers(150 + i), numbers(i)]}
        for i in range(4)
    ]
    copied = {"id": "copy", "middle": full[3]["middle"], "right": [numbers(170)]}
    return [manifest(tmp_path / "apart", apart), manifest(tmp_path / "full", [*full, copied])]


def references(planted, tmp_path, count=0, seed=0) -> tuple[References, list[tuple[str, int]]]:
    """The reference vectors, and of each the id of its event, and which of its cells it is."""
    space = plain_space(middle=Middle(), right=Right())
    found = find_references(space, "right", planted, BadRows(), tmp_path / "c", count=count, seed=seed, shown=False)
    kept = drawn(planted, "right", "middle", count, seed)
    cells = [(row["id"], number) for m in kept for row in m.rows for number in range(len(row["right"]))]
    each = [cell for m in kept for row in m.rows for cell in row["right"]]
    assert torch.allclose(found.z_MD, space.embed(right=each)["right"], atol=1e-6)
    return found, cells


def test_reference_vectors_of_the_own_event_are_left_out_by_id_group_and_pivot(planted, tmp_path):
    found, cells = references(planted, tmp_path)
    assert len(cells) == 4 + 8 + 1
    rows = {row["id"]: row for each in planted for row in each.rows}

    def left_out(event: str, group: str | None = None, pivot: str | None = None) -> set[tuple[str, int]]:
        digest = b"0" * 32 if pivot is None else Medium(rows[pivot]["middle"][0]).digest()
        pivots = np.frombuffer(digest, np.uint8)[None], np.array([0])
        kept = found.disjoint_from(References.owners([event], [group], pivots), 0)
        return {cells[i] for i in set(range(len(cells))) - set(kept.tolist())}

    def both(*events: str) -> set[tuple[str, int]]:
        return {(event, number) for event in events for number in (0, 1)}

    assert left_out("elsewhere", "nowhere") == set()
    assert left_out("full0") == both("full0")
    assert left_out("x", group="g1") == both("full1", "full3")
    assert left_out("x", pivot="full3") == both("full3") | {("copy", 0)}
    assert left_out("apart2", "g0", "copy") == both("full0", "full2", "full3") | {("copy", 0), ("apart2", 0)}


def test_they_are_drawn_by_the_seed_and_cost_no_more_than_is_asked(planted, tmp_path):
    one, cells = references(planted, tmp_path, count=5)
    again, same = references(planted, tmp_path, count=5)
    _, other = references(planted, tmp_path, count=5, seed=1)
    assert len(one.z_MD) == len(one.digests_M32) == 5
    assert torch.equal(one.z_MD, again.z_MD)
    assert cells == same != other


def six(owned: dict[str, list[int]] | None = None) -> References:
    """Six reference vectors of `right`; `owned`: which of them are of the event with that id."""
    z = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(5)), dim=1)
    digests = np.arange(6 * 32, dtype=np.uint8).reshape(6, 32)
    pairs = [(References.owners([name], [None], None)[0], at) for name, each in (owned or {}).items() for at in each]
    return References("right", z, digests, ["s"], [], np.array(pairs, np.int64).reshape(-1, 2))


def gradients(place: Path, shares: list[list[Batch]], given: References, micro_batch: int | None = None, **term):
    """The student's gradients, and the ledger, of one step of as many ranks as there are shares."""
    pairs, frozen = [Pair(["left", "middle"])], ["middle", "right"]
    terms = [DistillationConfig(of=["left", "right"], count=0, **term)]
    options = {"freeze": frozen, "micro_batch": micro_batch, "terms": terms, "references": {"right": given}}
    module, ranks = BindModule(plain_space(), pairs, steps=1, **options), len(shares)
    strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True) if ranks > 1 else "auto"
    trainer = quiet_trainer(1, place.parent, devices=ranks, strategy=strategy, callbacks=[Trained(place)])
    trainer.fit(module, datamodule=ByHand(shares))
    return torch.load(place, weights_only=True)


class Trained(L.Callback):
    """Writes the first gradients, and what the ledger says after them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if trainer.is_global_zero:
            found = {name: p.grad for name, p in module.space.towers["left"].named_parameters()}
            torch.save({"gradients": found, "ledger": module.space.ledger.state()}, self.path)


def test_rows_of_events_in_the_batch_teach_nothing(tmp_path):
    batch = plain_batch({"middle": [0, 1, 2], "left": [0, 1, 2], "right": [0, 1, 2]}, 3)

    def learned(event: str, sign: int) -> torch.Tensor:
        """The student's gradient where the first two reference vectors belong to that event."""
        given = six({event: [0, 1]})
        given.z_MD[:2] *= sign
        found = gradients(tmp_path / f"{event}{sign}.pt", [[batch]], given)["gradients"]
        return torch.cat([gradient.ravel() for gradient in found.values()])

    assert torch.equal(learned("e1", 1), learned("e1", -1))
    assert not torch.equal(learned("elsewhere", 1), learned("elsewhere", -1))


def test_too_few_that_belong_to_no_event_of_the_batch_are_told_with_the_number(tmp_path):
    batch = plain_batch({"middle": [0, 1], "left": [0, 1]}, 2)
    with pytest.raises(UserError, match="of 6 reference vectors of right 1 belong to no event of the batch"):
        gradients(tmp_path / "x.pt", [[batch]], six({"e1": [0, 1, 2, 3, 4]}))


@pytest.mark.parametrize("target", list(Target))
def test_each_target_draws_the_student_to_where_its_pivot_stands(tmp_path, target):
    batch = plain_batch({"middle": list(range(8)), "left": list(range(8))}, 8)
    terms, seen = [DistillationConfig(of=["left", "right"], target=target, weight=5.0)], []
    options = {"freeze": ["middle", "right"], "terms": terms, "references": {"right": six()}}
    module = BindModule(plain_space(), [Pair(["left", "middle"], weight=0.01)], steps=80, **options)
    term = module.listed[1].term
    module.on_train_batch_end = lambda *_: seen.append(term.figures()["loss"])
    quiet_trainer(80, tmp_path).fit(module, datamodule=ByHand([[batch] * 80]))
    assert seen[-1] < 0.8 * seen[0]
    assert module.space.ledger.unpaired_steps("left", "right") == 80


@pytest.mark.parametrize("target", list(Target))
def test_chunks_teach_as_the_whole_batch_does(tmp_path, target):
    batch = plain_batch({"middle": list(range(7)), "left": [0, 1, 2, 4, 5]}, 7)
    one, other = (
        gradients(tmp_path / f"{size}.pt", [[batch]], six({"e1": [0, 1]}), target=target, micro_batch=size)
        for size in (None, 2)
    )
    for name, expected in one["gradients"].items():
        assert torch.allclose(other["gradients"][name], expected, rtol=1e-4, atol=1e-6), name
        assert expected.abs().max() > 1e-6


@pytest.mark.process
def test_two_ranks_teach_as_one_process_does(tmp_path):  # proxies: samples are each rank's own
    held = {"middle": list(range(7)), "left": [0, 1, 2, 4, 5]}
    found = [
        gradients(
            tmp_path / f"{ranks}.pt",
            [[plain_batch(held, 7, only=slice(rank, None, ranks))] for rank in range(ranks)],
            six({"e1": [0, 1]}),
        )
        for ranks in (1, 2)
    ]
    one, two = (each["gradients"] for each in found)
    assert all(torch.allclose(two[name], expected, rtol=1e-4, atol=1e-6) for name, expected in one.items())
    first, second = (Ledger.from_state(each["ledger"]).pairs["left", "right"].unpaired for each in found)
    assert (first.steps, first.examples) == (second.steps, second.examples) == (1, 5)

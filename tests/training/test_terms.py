"""Terms of the loss: what they get, what they give, and what goes on record although they report nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from plain import ByHand, KeepGradients, plain_batch, plain_space, quiet_trainer

from bindspace import BindModule, PluginError, Term, TermConfig, UserError
from bindspace.data import Batch
from bindspace.losses import gram
from bindspace.settings import Pair
from bindspace.training.terms import GramConfig
from bindspace.training.terms.batch import Step, TermBatch

PACKAGES = Path(__file__).parents[1] / "packages"
for name in ("bindspace_symile", "bindspace_accidents"):
    sys.path.insert(0, str(PACKAGES / name))

from bindspace_accidents import JoinedConfig, OwnMetricConfig, ProductConfig, QueueConfig  # noqa: E402
from bindspace_symile import SymileConfig  # noqa: E402

NAMES = ["left", "middle", "right"]
ALL = {name: list(range(6)) for name in NAMES}
STAR = [Pair(["middle", "left"]), Pair(["middle", "right"])]


def fit(module: BindModule, batches: list[Batch], folder, **changes) -> BindModule:
    quiet_trainer(len(batches), folder, **changes).fit(module, datamodule=ByHand([batches]))
    return module


def module_of(*terms: TermConfig, pairs=STAR[:1], **options) -> BindModule:
    return BindModule(plain_space(), list(pairs), steps=4, terms=terms, **options)


def status(module: BindModule, a: str, b: str) -> str:
    return module.space.ledger.status(a, b)


# --- what the ledger sees


def test_a_product_of_two_modalities_makes_them_a_trained_pair_although_it_reports_nothing(tmp_path):
    module = fit(module_of(ProductConfig(of=["left", "right"])), [plain_batch(ALL, 6)], tmp_path)
    assert status(module, "left", "right") == "trained"
    assert module.space.ledger.pairs["left", "right"].paired.examples == 6
    assert module.space.ledger.pairs["left", "right"].gradient == ["left", "right"]


def test_so_does_a_term_that_joins_two_aligned_calls_by_ids_with_one_side_detached(tmp_path):
    module = fit(module_of(JoinedConfig(of=NAMES)), [plain_batch(ALL, 6)], tmp_path)
    assert status(module, "left", "right") == "trained"


class Means(Term):
    """The mean of one modality's rows against the mean of another's, whatever events they are of."""

    def __init__(self, config, context):
        super().__init__()

    def forward(self, batch):
        left, right = batch.aligned("left", "middle")["left"], batch.aligned("middle", "right")["right"]
        return -(left.z.mean(0) * right.z.detach().mean(0)).sum()


@dataclass(kw_only=True)
class MeansConfig(TermConfig):
    term: ClassVar[str] = f"{__name__}:Means"
    arity: ClassVar[tuple[int, int | None]] = (3, 3)


def test_rows_of_disjoint_events_are_not_joined(tmp_path):
    held = {"middle": list(range(6)), "left": [0, 1, 2], "right": [3, 4, 5]}
    module = fit(module_of(MeansConfig(of=NAMES), pairs=STAR), [plain_batch(held, 6)], tmp_path)
    assert status(module, "left", "right") == "emergent"


@pytest.mark.parametrize("shared", ["group", "pivot"])
def test_events_of_one_group_or_one_pivot_are_one_event(tmp_path, shared):
    batch = plain_batch({"middle": list(range(6)), "left": [0, 1, 2], "right": [3, 4, 5]}, 6)
    if shared == "group":
        batch.groups = ["g", None, None, "g", None, None]
    else:
        batch.digests["middle"][3] = batch.digests["middle"][0]
    module = fit(module_of(MeansConfig(of=NAMES), pairs=STAR), [batch], tmp_path)
    assert status(module, "left", "right") == "trained"


def test_a_queue_of_past_rows_inside_a_term_counts(tmp_path):
    first = plain_batch({"middle": [0, 1, 2], "right": [0, 1, 2]}, 3)
    second = plain_batch({"middle": [0, 1, 2], "left": [0, 1, 2]}, 3, seed=1)  # the same ids, another step
    module = fit(module_of(QueueConfig(of=NAMES), pairs=STAR), [first, second], tmp_path)
    assert status(module, "left", "right") == "trained"


def test_gram_over_trainable_towers_trains_all_of_its_pairs(tmp_path):
    module = fit(module_of(GramConfig(of=NAMES)), [plain_batch(ALL, 6)], tmp_path)
    assert module.space.ledger.trained_pairs() == [("left", "middle"), ("left", "right"), ("middle", "right")]


def test_a_frozen_side_is_recorded_and_two_frozen_sides_are_not(tmp_path):
    module = fit(module_of(GramConfig(of=NAMES), freeze=["middle", "right"]), [plain_batch(ALL, 6)], tmp_path)
    assert module.space.ledger.trained_pairs() == [("left", "middle"), ("left", "right")]
    assert module.space.ledger.pairs["left", "right"].gradient == ["left"]


def test_parameters_of_a_term_pair_two_frozen_sides_and_are_trained(tmp_path):
    module = module_of(OwnMetricConfig(of=["middle", "right"]), freeze=["middle", "right"])
    before = module.listed[1].term.map.weight.clone()
    fit(module, [plain_batch(ALL, 6)], tmp_path)
    assert not torch.equal(before, module.listed[1].term.map.weight)
    assert status(module, "middle", "right") == "trained"


def test_nothing_is_recorded_for_a_weight_of_0(tmp_path):
    module = fit(module_of(ProductConfig(of=["left", "right"], weight=0.0)), [plain_batch(ALL, 6)], tmp_path)
    assert ("left", "right") not in module.space.ledger.pairs


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_nothing_is_recorded_of_a_step_that_was_skipped(tmp_path):
    class Skips(BindModule):
        def optimizer_step(self, epoch, index, optimizer, closure=None):
            closure()

    space = plain_space()
    fit(Skips(space, STAR, steps=1), [plain_batch(ALL, 6)], tmp_path, max_steps=-1, max_epochs=1)
    assert space.ledger.pairs == {}


def test_a_gradient_scaler_that_skips_leaves_no_record(tmp_path):
    module = module_of()
    module.recording.begin(plain_batch(ALL, 6))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    optimizer.found_inf = torch.ones(1)
    module.recording._others = {"left": [torch.tensor(True)]}
    module._stepped(optimizer, (), {})
    assert module.space.ledger.pairs == {}


def test_a_training_step_of_ones_own_pairs_what_its_batch_holds(tmp_path):
    class Own(BindModule):
        def training_step(self, batch, index):
            z = self.vectors(batch)
            return -(z["left"] * z["right"]).sum(1).mean()

    module = fit(Own(plain_space(), STAR, steps=1), [plain_batch(ALL, 6)], tmp_path)
    assert module.space.ledger.trained_pairs() == [("left", "middle"), ("left", "right"), ("middle", "right")]


def test_so_does_one_that_calls_the_space_beside_the_terms(tmp_path):
    class Beside(BindModule):
        def training_step(self, batch, index):
            extra = self.space("left", batch.inputs["left"]) * self.space("right", batch.inputs["right"])
            return super().training_step(batch, index) - extra.sum(1).mean()

    module = fit(Beside(plain_space(), STAR, steps=1), [plain_batch(ALL, 6)], tmp_path)
    assert status(module, "left", "right") == "trained"


def test_so_does_one_that_reaches_into_a_tower(tmp_path):
    class Deep(BindModule):
        def training_step(self, batch, index):
            encode = lambda name: self.space.towers[name].encoder(**batch.inputs[name])  # noqa: E731
            return -(encode("left") * encode("right")).mean()

    module = fit(Deep(plain_space(), STAR, steps=1), [plain_batch(ALL, 6)], tmp_path)
    assert status(module, "left", "right") == "trained"


def test_dropping_a_tower_drops_what_only_it_brought(tmp_path):
    module = fit(module_of(pairs=STAR, freeze=["middle"]), [plain_batch(ALL, 6)], tmp_path)
    without = module.space.ledger.without(["left"])
    assert without.trained_pairs() == [("middle", "right")]
    both = fit(module_of(pairs=STAR), [plain_batch(ALL, 6)], tmp_path).space.ledger.without(["left"])
    assert both.trained_pairs() == [("left", "middle"), ("middle", "right")]  # the middle got gradient from the left


# --- what a term gets


def door(batch: Batch, names: list[str], space=None) -> TermBatch:
    space = space or plain_space()
    z = {name: space(name, inputs) for name, inputs in batch.inputs.items()}
    return TermBatch(Step(batch, z, space, NAMES), names, {}, "s", False)


def test_aligned_rows_are_those_of_events_that_hold_all_names_in_one_order():
    held = {"middle": [0, 1, 2, 3, 4], "left": [1, 2, 4], "right": [0, 2, 4]}
    rows = door(plain_batch(held, 5), NAMES).aligned(*NAMES)
    assert rows["left"].ids == rows["right"].ids == ["e2", "e4"]
    assert [len(each) for each in rows.values()] == [2, 2, 2]
    assert rows["left"].counts == [2]


def test_alone_are_events_that_hold_no_other_of_the_terms_and_share_nothing_with_one():
    batch = plain_batch({"middle": [0, 1], "left": [0, 1, 2, 3, 4]}, 5)
    batch.groups = ["g", None, "g", None, None]
    given = door(batch, ["middle", "left"])
    assert len(given.alone("left")) == 2  # e2 is of the group of e0
    assert given.taken.alone["left"] == {3, 4}


def test_a_term_may_not_take_what_it_did_not_list():
    given = door(plain_batch(ALL, 6), ["left", "middle"])
    with pytest.raises(UserError, match=r"unknown modality of this term 'right'.*list it in `of`"):
        given.aligned("left", "right")
    with pytest.raises(PluginError, match="aligned: expected two different modalities or more, got left"):
        given.aligned("left", "left")
    with pytest.raises(UserError, match="unknown modality of this term 'right'"):
        given.reference("right")


# --- what a term gives


class Bad(Term):
    """Returns what its settings say."""

    def __init__(self, config, context):
        super().__init__()
        self.value = config.value

    def forward(self, batch):
        batch.aligned("left", "middle")
        return torch.tensor(self.value, requires_grad=True) if isinstance(self.value, float | list) else self.value


@dataclass(kw_only=True)
class BadConfig(TermConfig):
    term: ClassVar[str] = f"{__name__}:Bad"
    value: object = 1.0


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([1.0, 2.0], r"expected forward to return a scalar tensor, got \(2,\)"),
        ("three", "expected forward to return a scalar tensor, got str"),
        (float("nan"), "the term left-middle#2 is nan at step 0: lower optim.lr"),
    ],
)
def test_a_term_that_returns_something_else_is_named(tmp_path, value, sentence):
    module = module_of(BadConfig(of=["left", "middle"], value=value))
    module.listed[1].label = "left-middle#2"
    with pytest.raises(UserError, match=sentence):
        fit(module, [plain_batch(ALL, 6)], tmp_path)


def test_what_builds_no_term_is_named():
    @dataclass(kw_only=True)
    class NoTerm(TermConfig):
        term: ClassVar[str] = "torch.nn:Identity"

        def build(self, context):
            return torch.nn.Identity()

    with pytest.raises(PluginError, match=r"NoTerm\.build: expected a bindspace\.Term, got Identity"):
        module_of(NoTerm(of=["left", "middle"]))


def test_a_strangers_term_over_three_modalities_trains_them(tmp_path):
    module = fit(module_of(SymileConfig(of=NAMES)), [plain_batch(ALL, 6, seed) for seed in range(3)], tmp_path)
    assert len(module.space.ledger.trained_pairs()) == 3


def test_gram_equals_volumes_computed_one_by_one_in_float64():
    generator = torch.Generator().manual_seed(0)
    unit = lambda: torch.nn.functional.normalize(torch.randn(5, 7, generator=generator).double(), dim=1)  # noqa: E731
    anchor, others = unit(), torch.stack([unit(), unit()])
    volume = torch.empty(5, 5, dtype=torch.float64)
    for i in range(5):
        for j in range(5):
            vectors = torch.stack([anchor[i], others[0, j], others[1, j]])
            volume[i, j] = torch.linalg.det(vectors @ vectors.T).sqrt()
    own = torch.arange(5)
    logits = -volume / 0.1
    expected = (torch.nn.functional.cross_entropy(logits, own) + torch.nn.functional.cross_entropy(logits.T, own)) / 2
    assert float(gram(anchor, others, 0.1)) == pytest.approx(float(expected), rel=1e-4)
    inputs = (anchor.requires_grad_(), others.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, o: gram(a, o, 0.5), inputs, atol=1e-6)


def test_events_of_equal_content_are_no_negatives_of_each_other_in_gram():
    anchor = torch.eye(3)
    others = torch.stack([torch.eye(3), torch.eye(3)])
    keys = torch.tensor([[1, 1, 2]])
    assert float(gram(anchor, others, 0.1, keys_KB=keys)) < float(gram(anchor, others, 0.1))


HELD = {
    "rows on all ranks": {"middle": [0, 1, 2, 3, 4, 5, 6], "left": [0, 1, 2, 4, 5], "right": [0, 1, 2, 3, 4, 6]},
    "a rank without any row": {"middle": [0, 1, 2, 3, 4, 5, 6], "left": [0, 2, 4, 6], "right": [0, 2, 4]},
}


@pytest.mark.process
@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_two_ranks_give_gram_and_own_parameters_the_gradients_of_one_process(tmp_path, held, micro_batch):
    def gradients(ranks: int) -> dict:
        terms = [GramConfig(of=NAMES, temperature=0.5), OwnMetricConfig(of=["left", "middle"])]
        torch.manual_seed(3)
        space = plain_space()
        module = BindModule(space, STAR[:1], steps=1, terms=terms[:1], micro_batch=micro_batch)
        shares = [[plain_batch(held, 7, only=slice(rank, None, ranks))] for rank in range(ranks)]
        strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True) if ranks > 1 else "auto"
        path = tmp_path / f"{ranks}.pt"
        trainer = quiet_trainer(1, tmp_path, devices=ranks, strategy=strategy, callbacks=[KeepGradients(path)])
        trainer.fit(module, datamodule=ByHand(shares))
        return torch.load(path, weights_only=True)

    one, two = gradients(1), gradients(2)
    assert one["gradients"].keys() == two["gradients"].keys()
    for name, expected in one["gradients"].items():
        assert torch.allclose(two["gradients"][name], expected, rtol=1e-3, atol=1e-6), name
    assert one["pairs"] == two["pairs"] == ["left-middle", "left-right", "middle-right"]

"""What training does with its losses: the numbers of the first steps, tiled or not, and SigLIP."""

import pytest
from plain import ByHand, plain_batch, plain_space, quiet_trainer

from bindspace.losses import contrastive, sigmoid
from bindspace.settings.run import OptimSettings, Pair
from bindspace.training import BindModule
from bindspace.training.terms import InfoNceConfig, SiglipConfig

STAR = [Pair(["middle", "left"]), Pair(["middle", "right"], weight=0.5)]
ALL = {name: list(range(9)) for name in ("middle", "left", "right")}
# of the first version, which had the plain form only: losses of the first steps at the settings' own values
GOLDEN = [7.475802, 5.408807, 5.036612, 4.328036, 4.747086]


def batches(count):
    found = [plain_batch(ALL, 9, seed) for seed in range(count)]
    for batch in found:  # an event's content that came up twice
        batch.digests["left"][3] = batch.digests["left"][5]
    return found


def losses(module, given, folder, **changes):
    """Trains, and returns the loss of each step."""
    seen = []
    module.log = lambda name, value, **_: seen.append(float(value))
    quiet_trainer(len(given), folder, **changes).fit(module, datamodule=ByHand([given]))
    return seen


def recipe(steps, loss=None):
    return BindModule(plain_space(), STAR, steps=steps, loss=loss or InfoNceConfig(), optim=OptimSettings(lr=0.02))


def test_the_first_steps_have_the_losses_of_the_first_version(tmp_path):
    assert losses(recipe(5), batches(5), tmp_path) == pytest.approx(GOLDEN, rel=1e-5)


def test_they_have_them_by_tiles_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(contrastive, "PAYS", 2)
    assert losses(recipe(5), batches(5), tmp_path) == pytest.approx(GOLDEN, rel=1e-4)


def test_siglip_learns_a_bias_for_each_pair_by_tiles_or_not(tmp_path, monkeypatch):
    loss = SiglipConfig(temperature=0.1, bias=-2.0)
    module = recipe(5, loss)
    plain = losses(module, batches(5), tmp_path)
    for name in ("left", "right"):
        assert float(module.space.logit_bias("middle", name).detach()) not in (0.0, -2.0)
    monkeypatch.setattr(sigmoid, "PAYS", 2)
    assert losses(recipe(5, loss), batches(5), tmp_path) == pytest.approx(plain, rel=1e-4)

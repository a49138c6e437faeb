"""Two processes started by the command line train the space that one does."""

import json

import pytest
from running import bindspace
from safetensors.torch import load_file

pytestmark = pytest.mark.process


def test_two_devices_train_what_one_does(sources, tmp_path):
    bindspace("train", *sources, "out=one", "trainer.devices=1", cwd=tmp_path)
    bindspace("train", *sources, "out=two", "trainer.devices=2", cwd=tmp_path)
    one, two = (load_file(tmp_path / name / "space" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        # a few steps of AdamW: rounding in the sums over ranks may turn a tiny gradient's sign
        assert (weight - two[name]).abs().median() < 1e-4, name
    ledgers = [json.loads((tmp_path / name / "space" / "ledger.json").read_text()) for name in ("one", "two")]
    assert ledgers[0]["pairs"] == ledgers[1]["pairs"]
    assert [path.name for path in tmp_path.iterdir()].count("outputs") == 0

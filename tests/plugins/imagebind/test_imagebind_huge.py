"""The full-size towers against outputs of the official code: depth and IMU always, the others with `-m huge`."""

from __future__ import annotations

import pytest
from imagebind_golden import INPUTS, check_parity, keys, modality_of, numbers
from torch import device

from bindspace_imagebind.format import CONFIGS
from bindspace_imagebind.keys import MASK, official_names

LARGE = [case for case in [*INPUTS, "text"] if f"{case}.out.f64" in numbers("huge") and case not in ("depth", "imu")]


def test_the_towers_have_the_official_names_and_shapes():
    found = {}
    for name, kind in CONFIGS.items():
        with device("meta"):
            state = kind().tower(kind().shape()).state_dict()
        names = official_names(name, kind().layers)
        found |= {names[ours]: list(value.shape) for ours, value in state.items()}
    assert found | {MASK: [77, 77]} == keys("huge")
    assert len(keys("huge")) == 1311


@pytest.mark.parametrize("case", ["depth", "imu"])
def test_small_towers_of_the_full_model_compute_what_the_official_code_does(case):
    check_parity(CONFIGS[case](), case, "huge")


@pytest.mark.huge
@pytest.mark.parametrize("case", LARGE)
def test_the_full_model_computes_what_the_official_code_does(case):
    print(case, "float64 {:.1e}, float32 {:.1e}".format(*check_parity(CONFIGS[modality_of(case)](), case, "huge")))

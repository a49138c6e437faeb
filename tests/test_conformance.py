"""Every installed modality keeps the contract: a plugin in the tree is tested by existing."""

from __future__ import annotations

import json
from functools import cache

import pytest

from bindspace.contract import registry
from bindspace.testing import all_checks
from bindspace.testing.kit import FAILED, NOT_APPLICABLE, run_check
from bindspace.testing.subject import Subject

# A model that no one would use, since even the smallest of open_clip's own takes minutes here.
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
SETTINGS = {name: {"model": "tiny-for-the-kit"} for name in ("image_openclip", "text_openclip")}


@cache
def subject(name: str) -> Subject:
    """What the checks of a plugin share, built once."""
    return Subject(name, SETTINGS.get(name))


@pytest.fixture(scope="module", autouse=True)
def _tiny_model(tmp_path_factory):
    import open_clip

    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny-for-the-kit.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.name)
@pytest.mark.parametrize("name", registry.installed())
def test_it_keeps_the_contract(name, check):
    result = run_check(check, subject(name))
    if result.outcome == NOT_APPLICABLE:
        pytest.skip(result.note)
    assert result.outcome != FAILED, str(result)

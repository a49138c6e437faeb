"""Installs the toy plugin `thing`, whole or with one line of it changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from thing import ENCODER, SOURCE

from bindspace.testing.subject import Subject


@pytest.fixture
def thing(install) -> Callable[..., Subject]:
    """`thing(old, new)`: the plugin with `old` replaced, in whichever of its two modules it stands."""

    def build(old: str = "", new: str = "") -> Subject:
        assert not old or (SOURCE + ENCODER).count(old) == 1, old
        files = {"__init__.py": SOURCE, "encoder.py": ENCODER}
        changed = {f"bindspace_thing/{name}": text.replace(old, new) if old else text for name, text in files.items()}
        install("bindspace-thing", changed, thing="bindspace_thing:ThingConfig")
        return Subject("thing")

    return build

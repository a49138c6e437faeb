"""Settings to JSON values and back, checked by name and type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal

import pytest

from bindspace.contract.errors import PluginError, UserError
from bindspace.settings.codec import from_primitives, to_primitives


class Colour(Enum):
    """An Enum."""

    red = "red"
    blue = 2


@dataclass
class Inner:
    """Nested settings."""

    colour: Colour = Colour.red


@dataclass
class Everything:
    """A field of every kind that may be kept."""

    constant: ClassVar[int] = 1
    number: int = 3
    share: float = 0.5
    flag: bool = True
    name: str = "ViT-B/32 from org/name, 50% of it"
    maybe: int | None = None
    either: int | str = "x"
    mode: Literal["a", "b"] = "a"
    pair: tuple[float, str] = (1.0, "x")
    many: tuple[int, ...] = (1, 2)
    items: list[Inner] = field(default_factory=lambda: [Inner(Colour.blue)])
    table: dict[str, list[float]] = field(default_factory=lambda: {"x": [1.0]})
    mapping: Mapping[str, int] = field(default_factory=lambda: {"x": 1})
    anything: Any = None
    counted: int = field(default=0, init=False)


def test_every_kind_of_setting_survives_json():
    value = Everything(maybe=4, anything={"a": [1, None, {"b": "c"}]})
    text = json.dumps(to_primitives(value))
    assert from_primitives(Everything, json.loads(text), "here") == value


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("maybe", "4", r"here\.maybe: expected a whole number, got '4'"),
        ("either", 1.5, r"here\.either: expected a whole number, got 1\.5"),
        ("mode", "c", r"here\.mode: expected one of 'a', 'b', got 'c'"),
        ("mode", ["a"], "expected one of"),
        ("pair", [1.0], "expected 2 values, got 1"),
        ("many", [1, "2"], r"here\.many\[1\]: expected a whole number"),
        (
            "items",
            [{"colour": "green"}],
            r"here\.items\[0\]\.colour: unknown value 'green': did you mean 'red'\? \(available: 2, red\)",
        ),
        ("items", [{"colour": True}], "unknown value 'true': .*available: 2, red"),
        ("table", {"x": [None]}, r"here\.table\.x\[0\]: expected a number"),
        ("table", {"${x}": []}, "never followed"),
        ("anything", {"a": [{"b": "${x}"}]}, r"here\.anything\.a\[0\]\.b: .*never followed"),
        ("anything", 10**300, "a number of more than 30 digits"),
        ("share", float("inf"), "expected a number from"),
        ("share", True, "expected a number, got true"),
        ("counted", 1, "unknown setting 'counted'"),
        ("constant", 1, "unknown setting 'constant'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_place(name, value, match):
    with pytest.raises(UserError, match=match):
        from_primitives(Everything, {name: value}, "here")


@pytest.mark.parametrize(
    "text", ["a..b", "50%", "$HOME", "a/b", "C: drive", "{x}", "x=1;y", "caf\u00e9", "two\nlines", "tab\t"]
)
def test_ordinary_strings_are_left_alone(text):
    assert from_primitives(str, text, "here") == text


def test_a_whole_number_will_do_for_a_number():
    assert type(from_primitives(float, 1, "here")) is float


def test_an_objection_of_the_dataclass_is_passed_on():
    @dataclass
    class Picky:
        size: int = 4

        def __post_init__(self):
            if self.size % 4:
                raise ValueError("size must be a multiple of 4")

    with pytest.raises(UserError, match=r"here: size must be a multiple of 4"):
        from_primitives(Picky, {"size": 5}, "here")


def test_a_type_that_no_file_can_hold_is_the_plugins_mistake():
    with pytest.raises(PluginError, match="cannot be kept in a file"):
        from_primitives(set, [1], "here")

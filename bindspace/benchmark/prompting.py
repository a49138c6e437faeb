"""Prompts of classes. Templates are configurable: text files under `templates/` or of the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bindspace.contract import UserError, unknown

HERE = Path(__file__).parent / "templates"
DEFAULT = "default"


def expand(templates: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Templates by attribute, with names of sets and files expanded.

    An item with `{}` is a template. Another item is the name of a built-in set (`clip`, `clip7`, `sound`), or the
    path of a text file with one template per line. Raises `UserError` for one that is neither, or an empty list.
    """
    found = {name: [line for item in items for line in _lines(name, item)] for name, items in templates.items()}
    for name, lines in found.items():
        if not lines:
            raise UserError(f"benchmark.templates: expected templates with {{}} for {name!r}, got none: try [clip]")
    return found


def prompts(attribute: str, value: str, templates: Mapping[str, Sequence[str]]) -> list[str]:
    """The prompts of one class. `{}` is replaced by the value; nothing else in a template is interpreted."""
    chosen = templates.get(attribute, templates.get(DEFAULT, ()))
    if not chosen or any("{}" not in template for template in chosen):
        raise UserError(
            f"benchmark.templates: expected for {attribute!r} (or `default`) a list of templates with {{}} in each, "
            f"got {list(chosen)!r}"
        )
    return [template.replace("{}", value) for template in chosen]


def _lines(name: str, item: str) -> list[str]:
    if "{}" in item:
        return [item]
    sets = {path.stem: path for path in HERE.glob("*.txt")}
    path = sets.get(item, Path(item))
    if item not in sets and path.suffix != ".txt":
        raise UserError(f"benchmark.templates.{name}: {unknown('set of templates', item, sets, hint='or a .txt file')}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"benchmark.templates.{name}: cannot read {path} ({error}): one template a line") from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        if "{}" not in line:
            raise UserError(f"benchmark.templates.{name}: {path} has a line without {{}}: {line!r}")
    return lines

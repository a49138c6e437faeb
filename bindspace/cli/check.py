"""`bindspace check NAME`: the conformance kit on an installed plugin."""

from __future__ import annotations

from dataclasses import fields

from bindspace.cli.arguments import settings, split
from bindspace.contract import UserError, registry

HELP = """\
usage: bindspace check NAME [SETTING=VALUE ...]

Runs the conformance kit on an installed modality plugin: the properties that the core relies on, one check per line.
The plugin is built with the settings of its `small`, overridden by those given here. Exit code 2 if a check fails.
`pytest --bindspace NAME` runs the same checks as tests; your tests can call `bindspace.testing.check_modality(NAME)`.

examples:
  bindspace check tactile
  bindspace check tactile width=64 trunk=vit"""


def run(arguments: list[str]) -> int:
    """`bindspace check NAME [SETTING=VALUE ...]`. Raises `UserError` after the report if a check fails."""
    given = split(arguments)
    if given.help:
        print(HELP)
        return 0
    if not given.overrides or "=" in given.overrides[0]:
        raise UserError("expected the name of a plugin, got none: write `bindspace check NAME`")
    name = given.overrides[0]
    changed = _changed(name, given.overrides[1:])
    from bindspace.testing import all_checks
    from bindspace.testing.kit import FAILED, run_check
    from bindspace.testing.subject import Subject

    subject, failures, checks = Subject(name, changed), 0, all_checks()
    for check in checks:
        result = run_check(check, subject)
        print(result, flush=True)
        failures += result.outcome == FAILED
    if failures:
        raise UserError(f"{name}: {failures} of {len(checks)} checks failed: fix the lines named above")
    print(f"{name}: all checks passed")
    return 0


def _changed(name: str, overrides: list[str]) -> dict[str, object]:
    """The settings of the command line, converted to the types of the plugin's fields."""
    if name in (found := registry.presets()) and name not in registry.installed():
        raise UserError(f"{name!r} is a preset for {found[name][0].modality!r}: give the plugin's name, and settings")
    config_class = registry.load(name)
    if not overrides:
        return {}
    from bindspace.cli.dataset import build

    values = settings(overrides, [item.name for item in fields(config_class)], f"check {name}")
    built = build(config_class, values)
    return {key: getattr(built, key) for key in values}

"""`bindspace check NAME`: the conformance kit on an installed plugin."""

from __future__ import annotations

from dataclasses import fields

from bindspace.cli.arguments import settings, split
from bindspace.contract import UserError, registry

HELP = """\
usage: bindspace check NAME [SETTING=VALUE ...]

Runs the conformance kit on an installed modality plugin: what the core relies on, one check a line. It is built with
the settings of its `small`, and with those given here over them. Exit code 2 where a check fails.
`pytest --bindspace NAME` runs the same as tests, `bindspace.testing.check_modality(NAME)` in a test of your own.

examples:
  bindspace check tactile
  bindspace check tactile width=64 trunk=vit"""


def run(arguments: list[str]) -> int:
    """`bindspace check NAME [SETTING=VALUE ...]`. Raises `UserError` after the report where a check fails."""
    given = split(arguments)
    if given.help:
        print(HELP)
        return 0
    if not given.overrides or "=" in given.overrides[0]:
        raise UserError("the name of a plugin is missing: write e.g. `bindspace check NAME`; `bindspace plugins` lists")
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
        raise UserError(f"{name}: {failures} of {len(checks)} checks failed: mend the lines that are named above")
    print(f"{name}: it keeps the contract")
    return 0


def _changed(name: str, overrides: list[str]) -> dict[str, object]:
    """The settings given on the command line, of the types of the plugin's fields."""
    if name in (found := registry.presets()) and name not in registry.installed():
        raise UserError(f"{name!r} is a preset for {found[name][0].modality!r}: give the plugin's name, and settings")
    config_class = registry.load(name)
    if not overrides:
        return {}
    from bindspace.cli.dataset import build

    values = settings(overrides, [item.name for item in fields(config_class)], f"check {name}")
    built = build(config_class, values)
    return {key: getattr(built, key) for key in values}

"""`pytest --bindspace NAME`: each check of the conformance kit as a test. No overhead unless it is used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bindspace.testing.kit import FAILED, NOT_APPLICABLE, Check, run_check


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--bindspace NAME`, which may be given several times."""
    group = parser.getgroup("bindspace")
    group.addoption(
        "--bindspace", metavar="NAME", action="append", default=[], help="run bindspace's conformance kit on a plugin"
    )


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Adds the checks of each named plugin to the collected tests."""
    for name in session.config.getoption("--bindspace"):
        items.extend(Kit.from_parent(session, name=f"bindspace[{name}]", plugin=name).collect())


class Kit(pytest.Collector):
    """The checks of one plugin. Shared objects are built when the first check runs."""

    def __init__(self, plugin: str, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.plugin = plugin
        self._subject: object = None

    def collect(self) -> Iterator[CheckItem]:
        """One item per check. Raises `pytest.UsageError` if the plugin is missing or does not load."""
        from bindspace.contract import PluginError, registry
        from bindspace.testing import all_checks

        try:
            registry.load(self.plugin)
        except PluginError as error:
            raise pytest.UsageError(f"--bindspace {self.plugin}: {error}") from error
        for check in all_checks():
            yield CheckItem.from_parent(self, name=check.name, check=check)

    def subject(self) -> object:
        """The plugin under test, built once for all checks."""
        from bindspace.testing.subject import Subject

        self._subject = self._subject or Subject(self.plugin)
        return self._subject


class CheckItem(pytest.Item):
    """One check of one plugin."""

    def __init__(self, check: Check, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.check = check

    def runtest(self) -> None:
        """Passes, skips with the reason, or fails with the line of the plugin."""
        assert isinstance(self.parent, Kit)
        result = run_check(self.check, self.parent.subject())  # type: ignore[arg-type]
        if result.outcome == NOT_APPLICABLE:
            pytest.skip(result.note)
        if result.outcome == FAILED:
            raise CheckFailed(str(result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:  # type: ignore[override]
        """The report of the check instead of a traceback through the kit."""
        return str(excinfo.value) if isinstance(excinfo.value, CheckFailed) else str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[str, None, str]:
        """The location that pytest shows: no file."""
        return f"bindspace[{self.parent.plugin}]", None, f"bindspace[{self.parent.plugin}]::{self.name}"  # type: ignore[union-attr]


class CheckFailed(Exception):
    """The report of a check that failed."""

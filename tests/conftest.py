"""Fixtures that tests of several parts share."""

from __future__ import annotations

import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest
from installing import write_distribution

from bindspace.contract import registry


@pytest.fixture
def install_toys(tmp_path, monkeypatch):
    """Installs tests/toys.py as the package `bindspace-toys` 1.0 with modalities `vector`, `curve` and `words`."""
    site = tmp_path / "site"
    write_distribution(
        site, "bindspace-toys", "1.0", vector="toys:VectorConfig", curve="toys:CurveConfig", words="toys:WordsConfig"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    registry.installed.cache_clear()
    yield sys.modules.get("toys") or __import__("toys")
    registry.installed.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package without pip: `install("bindspace-x", {"bindspace_x/__init__.py": source}, x="bindspace_x:X")`.

    `group`: the entry-point group, that of modalities if it is left out.
    """
    site, modules = tmp_path / "site", set(sys.modules)
    site.mkdir(exist_ok=True)
    monkeypatch.syspath_prepend(str(site))

    def add(package: str, files: dict[str, str], version: str = "1.0", group: str = registry.MODALITIES, **points: str):
        for name, source in files.items():
            path = site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        info = site / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        registry.installed.cache_clear()
        invalidate_caches()
        return site

    yield add
    registry.installed.cache_clear()
    for name in set(sys.modules) - modules:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]

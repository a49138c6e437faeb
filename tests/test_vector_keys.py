"""The key of cached vectors: what shapes vectors changes it, and nothing else does."""

from __future__ import annotations

import ast
import importlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_architecture import CORE, PLUGINS, imports, sources

import bindspace
from bindspace.contract import Head, ModalityConfig, Tune, registry
from bindspace.vectors import key
from bindspace.vectors.key import LIBRARIES, SHAPING, preparation_hash

# What plugins import of the core and no vector depends on.
SHAPES_NOTHING = {
    "contract/__init__.py": "names only",
    "contract/dataset.py": "sources of data sets: what they hold is in the digests",
    "contract/errors.py": "sentences",
    "contract/format.py": "import and export of weights, which are hashed themselves",
    "contract/registry.py": "finds classes",
    "io/files.py": "writes files",
    "io/fingerprints.py": "near-duplicates; no vector comes from them",
    "io/progress.py": "a bar",
    "ledger/ledger.py": "the record",
    "settings/pairs.py": "names of pairs",
}
WRITES = {"bindspace_world", "bindspace_datasets"}  # bring data, no modality


@pytest.fixture
def core(tmp_path, monkeypatch) -> Path:
    """A copy of the core that the key is made of."""
    root = tmp_path / "bindspace"
    shutil.copytree(CORE, root, ignore=shutil.ignore_patterns("__pycache__", "templates"))
    monkeypatch.setattr(key, "ROOT", root)
    return root


def image() -> ModalityConfig:
    return registry.load("image")()


def edited(path: Path) -> bytes:
    """Adds a line, and returns what was there."""
    before = path.read_bytes()
    path.write_bytes(before + b"# edited\n")
    return before


@pytest.mark.parametrize("name", SHAPING)
def test_a_module_that_shapes_vectors_changes_the_key(core, name):
    before = preparation_hash(image())
    edited(core / name)
    assert preparation_hash(image()) != before


def test_no_other_module_of_the_core_changes_the_key(core):
    others = [path for path in core.rglob("*.py") if path.relative_to(core).as_posix() not in SHAPING]
    assert len(others) > 100
    config, before = image(), preparation_hash(image())
    changed = []
    for path in others:
        kept = edited(path)
        if preparation_hash(config) != before:
            changed.append(path)
        path.write_bytes(kept)
    assert changed == []


def core_file(module: str) -> str | None:
    """The file of a module of the core, below its root; None for another's, and for the package itself."""
    top, *rest = module.split(".")
    if top != "bindspace" or not rest:
        return None
    place = "/".join(rest)
    return f"{place}.py" if (CORE / f"{place}.py").is_file() else f"{place}/__init__.py"


def public_names(path: Path) -> set[str]:
    """The modules of the core behind what a file imports as `from bindspace import NAME`, not for types alone."""
    taken = [
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "bindspace"
        for alias in node.names
    ]
    return {getattr(bindspace, name).__module__ for name in taken if name in bindspace._HOME}


def used_by(path: Path) -> set[str]:
    """The files of the core that a plugin's file uses."""
    modules = {*imports(path, typing=False), *public_names(path)}
    return {file for module in modules if (file := core_file(module)) is not None}


def test_what_plugins_use_of_the_core_is_on_the_list_or_shapes_nothing():
    modalities = [path for path in sources(PLUGINS) if path.relative_to(PLUGINS).parts[0] not in WRITES]
    used = set().union(*map(used_by, modalities))
    assert {"io/pictures.py", "io/sounds.py", "modules/trunks.py", "contract/modality.py"} <= used
    assert used - set(SHAPING) - set(SHAPES_NOTHING) == set()


def test_what_the_listed_modules_use_is_on_the_list_too():
    rooms = ("io/", "modules/")
    used = set().union(*(used_by(CORE / name) for name in SHAPING))
    assert {name for name in used if name.startswith(rooms)} - set(SHAPING) == set()


def test_no_module_of_the_core_is_both_and_all_are_there():
    assert not set(SHAPING) & set(SHAPES_NOTHING)
    assert all((CORE / name).is_file() for name in [*SHAPING, *SHAPES_NOTHING])


def test_settings_change_the_key_save_those_of_training():
    config = image()
    before = preparation_hash(config)
    assert preparation_hash(replace(config, tune=Tune(lr=0.5), weights="other.safetensors")) == before
    assert preparation_hash(replace(config, image_size=32)) != before
    assert preparation_hash(replace(config, head=Head.mlp)) != before


@pytest.fixture
def package(tmp_path, monkeypatch) -> Iterator[Path]:
    """A plugin's package of two files whose class derives from one of another package."""
    base, own = tmp_path / "key_base", tmp_path / "key_plugin"
    for folder in (base, own):
        folder.mkdir()
    (base / "__init__.py").write_text(
        "from bindspace import ModalityConfig\nclass Base(ModalityConfig):\n    modality, expects = 'it', 'it'\n"
    )
    (own / "__init__.py").write_text("from key_base import Base\nclass It(Base):\n    pass\n")
    (own / "net.py").write_text("import hypothesis\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("key_base", "key_plugin"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["key_base/__init__.py", "key_plugin/__init__.py", "key_plugin/net.py"])
def test_every_file_of_a_plugins_packages_changes_the_key(package, name):
    config = importlib.import_module("key_plugin").It()
    before = preparation_hash(config)
    edited(package / name)
    assert preparation_hash(config) != before


def versions(config: ModalityConfig) -> dict[str, str]:
    return key._versions(config, dict(key._own_sources(config)))


def test_versions_are_those_of_what_shapes_vectors(package):
    assert set(versions(image())) == {name for name in LIBRARIES if version(name)}
    own = versions(importlib.import_module("key_plugin").It())
    assert set(own) == {*LIBRARIES, "hypothesis"}  # which its second file imports


def test_versions_of_what_a_plugin_of_the_tree_imports_are_there():
    pytest.importorskip("open_clip")
    assert "open-clip-torch" in versions(registry.load("text_openclip")())
    for name in registry.installed():
        if registry.find(name).package == "bindspace":
            assert not {"lightning", "hydra-core", "rich", "bindspace"} & set(versions(registry.load(name)())), name


def test_a_distribution_says_what_it_always_requires(monkeypatch):
    config = image()
    monkeypatch.setattr(registry, "find", lambda name: SimpleNamespace(package="other"))
    lines = ["bindspace>=0.1", "Ruff[x]>=1; python_version>'3'", "pytest; extra == 'dev'", "mypy;extra=='dev'"]
    monkeypatch.setattr(key, "requires", lambda package: lines)
    assert set(versions(config)) == {*LIBRARIES, "ruff"}


def test_a_class_without_a_file_is_equal_to_nothing(monkeypatch):
    class Typed(type(image())):
        pass

    monkeypatch.setattr(Typed, "__module__", "notebook")
    assert preparation_hash(Typed()) != preparation_hash(Typed())

"""The direction of imports and the namelessness of modalities, as the design lays them down, read from the source."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bindspace.moved import MOVED

ROOT = Path(__file__).parents[1]
CORE = ROOT / "bindspace"
PLUGINS = ROOT / "plugins"
MODALITIES = {"image", "text", "audio", "depth", "thermal", "imu"}
LIGHTNING = {"lightning", "pytorch_lightning", "lightning_fabric"}
HYDRA = {"hydra", "omegaconf"}
HEAVY = {"torch", "torchvision", "torchaudio", "numpy", "PIL", "timm", "soundfile", "hydra", "omegaconf", *LIGHTNING}
# Imports go from right to left; those of one group do not import each other, save where ALLOWED says so.
ORDER = [
    {"contract"},
    {"settings"},
    {"io", "modules", "losses", "metrics"},
    {"ledger"},
    {"space"},
    {"data"},
    {"vectors"},
    {"training", "benchmark", "search", "bridge"},
    {"testing", "integrations"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
STANDARD_ONLY = ["contract", "settings", "moved"]
TORCH_ONLY = ["losses", "metrics"]
# Rooms of which others use what the door names, and no file behind it.
DOORS = ["contract", "settings", "losses", "metrics", "ledger", "space", "data", "vectors"]
# used as modules
BEHIND = {
    "bindspace.contract.registry",
    "bindspace.data.module",
    "bindspace.ledger.file",
    "bindspace.ledger.observer",
    "bindspace.metrics.retrieval",
    "bindspace.settings.launch",
}
FOR_PLUGINS = {"contract", "settings", "io", "modules", "space", "ledger", "testing"}  # rooms that plugins may use


def sources(folder: Path) -> list[Path]:
    """All modules below a folder."""
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


def imports(path: Path, *, top: bool = False, typing: bool = True) -> Iterator[str]:
    """Full names of what a module imports; `top`: only what is run when it is imported itself.

    `typing` False: without what is imported for types alone.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _executed(tree, functions=not top) if top or not typing else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT / "plugins" if PLUGINS in path.parents else ROOT).parent.parts
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            base = (base + (node.module or "")).strip(".")
            yield from (f"{base}.{alias.name}" if _is_module(f"{base}.{alias.name}") else base for alias in node.names)


def _is_module(name: str) -> bool:
    place = name.replace(".", "/")
    return any((root / f"{place}{end}").exists() for root in (ROOT, PLUGINS) for end in (".py", "/__init__.py"))


def _executed(node: ast.AST, *, functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not functions:
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _executed(child, functions=functions)


def roots(names: Iterator[str]) -> set[str]:
    """The packages at the root of full names."""
    return {name.split(".")[0] for name in names}


def within(path: Path, *places: str) -> bool:
    """Whether a module of the core is one of these, or in one of these folders."""
    place = path.relative_to(CORE).with_suffix("").as_posix()
    return any(place == each or place.startswith(f"{each}/") for each in places)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """String constants of a module, docstrings aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_the_core_imports_no_plugin():
    names = {path.name for path in PLUGINS.iterdir() if path.is_dir()}
    assert len(names) >= 7
    for path in sources(CORE):
        assert not roots(imports(path)) & names, path


def test_the_core_holds_no_modality_by_name():
    found = [(path, line) for path in sources(CORE) for line, text in strings(path) if text.strip("'\"") in MODALITIES]
    assert found == []


def test_only_the_composition_of_a_run_knows_hydra():
    for path in sources(CORE):
        if not within(path, "cli/compose"):
            assert not roots(imports(path)) & HYDRA, path


def test_only_training_and_the_data_module_know_lightning():
    for path in sources(CORE):
        if not within(path, "training", "data/module"):
            assert not roots(imports(path)) & LIGHTNING, path


def room(name: str) -> str | None:
    """The room of a module of the core by its full name; None for the package itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "bindspace" and len(parts) > 1 and parts[1] in LEVEL else None


def module_name(path: Path) -> str:
    """The full name of a module of the core."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_folder_of_the_core_is_a_room_with_a_place_in_the_order():
    folders = {path.parent.relative_to(CORE).parts[0] for path in sources(CORE) if path.parent != CORE}
    assert folders <= set(LEVEL)
    assert {path.name for path in CORE.glob("*.py")} == {"__init__.py", "__main__.py", "moved.py"}


def test_imports_go_one_way_between_rooms():
    wrong = []
    for path in sources(CORE):
        own = room(module_name(path))
        for found in imports(path, typing=False):
            other = room(found)
            if own is None or other is None or own == other:
                continue
            if LEVEL[other] >= LEVEL[own]:
                wrong.append(f"{module_name(path)} -> {found}")
    assert wrong == []


def test_no_import_goes_in_a_circle():
    """Imports for types count too, within a room; between rooms the order forbids circles."""
    graph = {}
    for path in sources(CORE):
        name = module_name(path)
        inside = {found for found in imports(path) if room(found) == room(name) and room(name) is not None}
        graph[name] = inside - {name}
    assert _circles(graph) == []


def test_no_plugin_imports_in_a_circle():
    for plugin in sorted(path for path in PLUGINS.iterdir() if path.is_dir()):
        graph = {}
        for path in plugin.rglob("*.py"):
            name = ".".join(path.relative_to(PLUGINS).with_suffix("").parts).removesuffix(".__init__")
            graph[name] = {found for found in imports(path) if found.split(".")[0] == plugin.name} - {name}
        assert _circles(graph) == [], plugin


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that import each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph.get(name, ()):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_a_circle_would_be_found():
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_a_room_is_entered_by_its_door():
    for path in sources(CORE):
        own = room(module_name(path))
        for found in imports(path):
            if room(found) in DOORS and room(found) != own:
                assert len(found.split(".")) == 2 or found in BEHIND, (path, found)


@pytest.mark.parametrize("name", STANDARD_ONLY)
def test_what_is_read_to_list_plugins_needs_the_standard_library_only(name):
    paths = sources(CORE / name) if (CORE / name).is_dir() else [CORE / f"{name}.py"]
    for path in paths:
        for found in imports(path, top=True):
            assert room(found) in {"contract", "settings", None}, (path, found)
            assert found.split(".")[0] not in {"yaml", "rich", *HEAVY}, (path, found)


@pytest.mark.parametrize("name", TORCH_ONLY)
def test_what_computes_knows_torch_and_nothing_else(name):
    for path in sources(CORE / name):
        assert not roots(imports(path)) & (HEAVY - {"torch"}), path
        assert all(room(found) in {name, None} for found in imports(path)), path


def test_plugins_use_the_contract_and_nothing_behind_it():
    for path in sources(PLUGINS):
        own = path.relative_to(PLUGINS).parts[0]
        for found in imports(path):
            if found.split(".")[0] == "bindspace":
                assert found == "bindspace" or room(found) in FOR_PLUGINS | {"data"}, (path, found)
                assert room(found) != "data" or found == "bindspace.data.fragments", (path, found)
            assert not found.startswith("bindspace_") or found.split(".")[0] == own, (path, found)


def test_the_first_module_of_a_plugin_imports_nothing_slow():
    for path in sorted(PLUGINS.glob("*/__init__.py")):
        assert not roots(imports(path, top=True)) & HEAVY, path


def test_importing_the_package_costs_nothing():
    assert roots(imports(CORE / "__init__.py", top=True)) <= {"__future__", "importlib", "typing", "sys", "bindspace"}


def test_the_public_names_are_all_there():
    import bindspace

    for name, home in bindspace._HOME.items():
        assert getattr(bindspace, name) is getattr(importlib.import_module(home), name)
    assert set(bindspace.__all__) <= set(dir(bindspace))
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        _ = bindspace.laod


def test_what_plugins_of_the_first_version_import_is_found_where_it_went():
    for old, new in MOVED.items():
        sys.modules.pop(old, None)
        with pytest.warns(DeprecationWarning, match=f"{old} has moved: import from {new}"):
            module = importlib.import_module(old)
        assert module is importlib.import_module(new)
        assert module.__spec__.name == new

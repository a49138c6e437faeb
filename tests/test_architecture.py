"""The direction of imports and the namelessness of modalities, as the design lays them down, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "bindspace"
PLUGINS = ROOT / "plugins"
MODALITIES = {"image", "text", "audio", "depth", "thermal", "imu"}
LIGHTNING = {"lightning", "pytorch_lightning", "lightning_fabric"}
HYDRA = {"hydra", "omegaconf"}
HEAVY = {"torch", "torchvision", "torchaudio", "numpy", "PIL", "timm", "soundfile", "hydra", "omegaconf", *LIGHTNING}
STANDARD_ONLY = [
    "errors",
    "modality",
    "registry",
    "settings",
    "pairs",
    "teach",
    "confdir",
    "primitives",
    "format_config",
    "cli/preflight",
]
TORCH_ONLY = ["heads", "losses", "benchmark/retrieval"]
# what a plugin may use of the core: the contract, errors, kits for it, and types of data
FOR_PLUGINS = {
    "bindspace.errors", "bindspace.modality", "bindspace.registry", "bindspace.testing", "bindspace.settings",
    "bindspace.data.dataset_config", "bindspace.pictures", "bindspace.picture_config", "bindspace.sequences",
    "bindspace.format_config", "bindspace.space", "bindspace.ledger", "bindspace.sounds",
    "bindspace.towers", "bindspace.timm_trunk", "bindspace.files", "bindspace.progress", "bindspace.data.fragments",
    "bindspace.fingerprints",
}  # fmt: skip


def sources(folder: Path) -> list[Path]:
    """All modules below a folder."""
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


def imports(path: Path, *, top: bool = False) -> Iterator[str]:
    """Full names of what a module imports; `top`: only what is run when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _executed(tree) if top else ast.walk(tree):
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


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _executed(child)


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


def test_only_the_command_line_and_config_know_hydra():
    for path in sources(CORE):
        if not within(path, "cli", "config", "saved_run"):
            assert not roots(imports(path)) & HYDRA, path


def test_only_training_and_the_data_module_know_lightning():
    for path in sources(CORE):
        if not within(path, "training", "data/module"):
            assert not roots(imports(path)) & LIGHTNING, path


def test_training_and_data_know_neither_the_command_line_nor_the_config():
    for path in sources(CORE):
        if not within(path, "cli", "config", "__main__"):
            known = set(imports(path))
            assert not any(name.startswith(("bindspace.cli", "bindspace.config")) for name in known), path


def test_measuring_does_not_know_training():
    for path in sources(CORE / "benchmark"):
        assert not any(name.startswith("bindspace.training") for name in imports(path)), path


@pytest.mark.parametrize("name", STANDARD_ONLY)
def test_what_is_read_to_list_plugins_needs_the_standard_library_only(name):
    path = CORE / f"{name}.py"
    allowed = {f"bindspace.{other.replace('/', '.')}" for other in STANDARD_ONLY}
    for found in imports(path, top=True):
        assert found in allowed or found.split(".")[0] not in {"bindspace", "yaml", "rich", *HEAVY}, (name, found)


@pytest.mark.parametrize("name", TORCH_ONLY)
def test_what_computes_knows_torch_and_nothing_else(name):
    paths = sources(CORE / name) if (CORE / name).is_dir() else [CORE / f"{name}.py"]
    for path in paths:
        assert not roots(imports(path)) & (HEAVY - {"torch"}), path
        assert not any(
            found.startswith(("bindspace.cli", "bindspace.training", "bindspace.data")) for found in imports(path)
        )


def test_plugins_use_the_contract_and_nothing_behind_it():
    for path in sources(PLUGINS):
        own = path.relative_to(PLUGINS).parts[0]
        for found in imports(path):
            if found.split(".")[0] == "bindspace":
                assert found in FOR_PLUGINS, (path, found)
            assert not found.startswith("bindspace_") or found.split(".")[0] == own, (path, found)


def test_the_first_module_of_a_plugin_imports_nothing_slow():
    for path in sorted(PLUGINS.glob("*/__init__.py")):
        assert not roots(imports(path, top=True)) & HEAVY, path


def test_importing_the_package_costs_nothing():
    assert roots(imports(CORE / "__init__.py", top=True)) <= {"__future__", "importlib", "typing"}


def test_the_public_names_are_all_there():
    import bindspace

    light = [name for name, home in bindspace._HOME.items() if home.rsplit(".", 1)[-1] in STANDARD_ONLY]
    assert len(light) >= 8
    for name in light:
        assert getattr(bindspace, name).__name__ == name
    for name, home in bindspace._HOME.items():  # those that import torch are looked for in the source
        place = ROOT / home.replace(".", "/")
        source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        tree = ast.parse(source.read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
        assert name in defined, name
    assert set(bindspace.__all__) <= set(dir(bindspace))
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        _ = bindspace.laod

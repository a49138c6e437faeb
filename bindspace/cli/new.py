"""`bindspace new NAME`: writes a plugin package for a new modality, ready to train. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template

from bindspace.cli.arguments import settings, split
from bindspace.cli.embed import OWN
from bindspace.contract import RESERVED, UserError, registry, unknown
from bindspace.io.files import check_place, replace_folder, write_text

TEMPLATES = Path(__file__).parents[1] / "templates"
COMMON, DEFAULT = "common", "signal"
TAKEN = {*RESERVED, *OWN, "by", "done"}  # names with another meaning in manifests, schedules or on the command line
HELP = """\
usage: bindspace new NAME [kind=KIND] [out=DIR]

Writes the package bindspace-NAME into DIR: a plugin for the modality NAME that installs, passes the conformance kit and
trains on generated examples. Then adapt its reading and its encoder. Nothing is overwritten.

  kind=signal   recordings of several channels over time (NPY, CSV)
  kind=image    maps with one measured value per pixel (PNG, TIFF, NPY)
  kind=tokens   sequences of letters of an alphabet (FASTA, text)
  kind=vector   vectors of a few measured numbers (NPY, CSV)
  out=.         parent folder of the package

example:
  bindspace new tactile kind=signal
  pip install -e bindspace-tactile && bindspace check tactile
  bindspace train 'modality=[image,text,tactile]'"""


def run(arguments: list[str]) -> int:
    """`bindspace new NAME [kind=KIND] [out=DIR]`; `--kind KIND` and `--out DIR` are equivalent."""
    given = split(_without_dashes(arguments))
    if given.help:
        print(HELP)
        return 0
    if not given.overrides or "=" in given.overrides[0]:
        raise UserError("the name of the modality is missing: write e.g. `bindspace new tactile`")
    name, values = given.overrides[0], settings(given.overrides[1:], ["kind", "out"], "new")
    check_name(name)
    kind = str(values.get("kind", DEFAULT))
    if kind not in kinds():
        raise UserError(unknown("kind", kind, kinds(), hint="`bindspace new --help` explains them"))
    folder = Path(str(values.get("out", "."))) / f"bindspace-{name.replace('_', '-')}"
    files = package(name, kind)
    write(folder, files)
    print(f"{folder}: {len(files)} files, {sum(text.count(chr(10)) for text in files.values())} lines")
    train = f"bindspace train 'modality=[image,text,{name}]'"
    for line in (f"pip install -e {folder}", f"bindspace check {name}", train):
        print(f"  {line}")
    return 0


def kinds() -> list[str]:
    """The available templates."""
    return sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir() and path.name != COMMON)


def check_name(name: str) -> None:
    """Raises `UserError` unless the name is valid for a new modality: well-formed, not reserved, not taken."""
    if not registry.NAME.fullmatch(name) or iskeyword(name):
        raise UserError(
            f"cannot name a modality {name!r}: expected lower-case letters, digits and _, a letter first, and no word"
            " of Python's: choose another name"
        )
    if name in TAKEN:
        raise UserError(f"cannot name a modality {name!r}: the name is reserved: choose another name")
    for plugin in (plugin for owners in registry.installed().values() for plugin in owners):
        if plugin.name == name or plugin.value.partition(":")[0] == f"bindspace_{name}":
            raise UserError(f"{name!r} is taken by {plugin.package}: choose another name, or uninstall that package")
    if brought := registry.presets().get(name):
        raise UserError(f"{name!r} is the name of a preset of {brought[0].package}: choose another name")
    if find_spec(f"bindspace_{name}") is not None:
        raise UserError(f"the package bindspace_{name} exists already: choose another name, or uninstall it")


def package(name: str, kind: str) -> dict[str, str]:
    """The files of the package by path: project, module, preset, test, README."""
    words = json.loads(_template(kind, "words.json"))
    names = {"name": name, "dashed": name.replace("_", "-"), "Title": name.replace("_", " ").capitalize()}
    names |= {"Class": f"{name.title().replace('_', '')}Config", "preset": f"{name}_{words['preset']}"}
    names |= {word: Template(words[word]).substitute(names) for word in ("what", "info")}

    def filled(folder: str, file: str) -> str:
        return _filled(_template(folder, file), names)

    return {
        "pyproject.toml": filled(COMMON, "pyproject.toml.txt"),
        "README.md": filled(COMMON, "README.md.txt"),
        f"bindspace_{name}/__init__.py": filled(kind, "module.py.txt"),
        f"bindspace_{name}/conf/modality/{names['preset']}.yaml": filled(kind, "preset.yaml.txt"),
        f"test_{name}.py": filled(COMMON, "test.py.txt"),
    }


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the files, all or none. Raises `UserError` if the folder exists already."""
    if folder.exists() or folder.is_symlink():
        raise UserError(
            f"{folder} exists already: nothing was written; choose another name, or another folder with out="
        )
    check_place(folder)
    with replace_folder(folder) as new:
        for path, text in files.items():
            write_text(new / path, text)


def _without_dashes(arguments: list[str]) -> list[str]:
    """Converts `--kind KIND` and `--kind=KIND` to `kind=KIND`, as other package generators accept them."""
    found, left = [], list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.partition("=")
        if name in ("--kind", "--out"):
            found.append(f"{name[2:]}={value if equals else left.pop(0) if left else ''}")
        else:
            found.append(argument)
    return found


def _template(folder: str, file: str) -> str:
    return (TEMPLATES / folder / file).read_text(encoding="utf-8")


def _filled(template: str, names: Mapping[str, str]) -> str:
    return Template(template).substitute(names)

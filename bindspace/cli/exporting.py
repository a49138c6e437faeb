"""`bindspace export FORMAT space=FOLDER out=FILE`: writes a space in a third-party format."""

from __future__ import annotations

import json
from pathlib import Path

from bindspace.cli.arguments import need
from bindspace.cli.formats import Asked, announce, asked, size
from bindspace.contract import UserError, unknown
from bindspace.io.files import check_place, whole_file

USAGE = """\
usage: bindspace export FORMAT space=FOLDER out=FILE ['modality=[A,B]'] [setting=value ...]

Writes a space as a file of a third-party format: all its modalities that the format supports, or those given by
modality=.

FORMAT, and its settings (key=default):"""


def run(arguments: list[str]) -> int:
    """`bindspace export FORMAT space=FOLDER out=FILE`."""
    given = asked("export", arguments, ["space", "out"], USAGE)
    if given is None:
        return 0
    folder = Path(str(need(given.places, "space", "space=FOLDER, the `space` folder of a run")))
    out = Path(str(need(given.places, "out", "out=FILE")))
    suffixes = given.format.suffixes
    if suffixes and out.suffix not in suffixes:
        raise UserError(f"out={out}: expected a name that ends in {' or '.join(suffixes)}")
    if out.exists():
        raise UserError(f"out={out} exists already: choose another name, or remove that file first")
    check_place(out.parent)
    chosen, left_out = _chosen(given, folder)
    announce(folder)

    from bindspace.space import load

    space = load(folder, modalities=chosen)
    with whole_file(out) as place:
        given.format.save(space, place)
    rest = f"; left out, since the format does not support it: {', '.join(left_out)}" if left_out else ""
    print(f"{out}: {', '.join(chosen)} ({size(out)}){rest}")
    return 0


def _chosen(given: Asked, folder: Path) -> tuple[list[str], list[str]]:
    """The modalities to write, and those of the space that the format does not support; read without torch."""
    try:
        held = [str(name) for name in json.loads((folder / "space.json").read_text(encoding="utf-8"))["modalities"]]
    except FileNotFoundError as error:
        raise UserError(f"space={folder} holds no space.json: give the `space` folder of a run") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"space={folder}: space.json is damaged: copy the whole space folder again") from error
    for name in given.modalities or ():
        if name not in held:
            raise UserError(unknown("modality of this space", name, held))
    fits = [name for name in held if name in given.format.modalities]
    if not fits:
        holds = ", ".join(given.format.modalities)
        raise UserError(
            f"the format {given.name!r} supports {holds}, but {folder} has {', '.join(held)}: none in common"
        )
    if given.modalities is not None:
        return [name for name in fits if name in given.modalities], []
    return fits, [name for name in held if name not in fits]

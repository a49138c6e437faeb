"""`bindspace import FORMAT weights=FILE out=FOLDER`: converts third-party weights into a space folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bindspace.cli.arguments import need
from bindspace.cli.formats import Asked, announce, asked, parameters
from bindspace.contract import PluginError, UserError
from bindspace.io.files import check_place

if TYPE_CHECKING:
    from bindspace.space import Space

USAGE = """\
usage: bindspace import FORMAT weights=FILE out=FOLDER ['modality=[A,B]'] [setting=value ...]

Converts third-party weights into a space folder. Only the modalities given by modality= are built (default: all); no
code of the file is executed. The ledger holds what is declared about these weights, marked as declarations.

FORMAT, and its settings (key=default):"""


def run(arguments: list[str]) -> int:
    """`bindspace import FORMAT weights=FILE out=FOLDER`."""
    given = asked("import", arguments, ["weights", "out"], USAGE)
    if given is None:
        return 0
    weights = Path(str(need(given.places, "weights", "weights=FILE")))
    out = Path(str(need(given.places, "out", "out=FOLDER, where the space is to be")))
    if not weights.exists():
        raise UserError(f"weights={weights}: expected a file, found none: check the path")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"out={out} exists already: choose another folder, or remove that one first")
    check_place(out)
    announce(weights)
    space = _load(given, weights)

    from bindspace.space import save

    save(space, out)
    print(f"{out}: {_summary(space)}")
    return 0


def _load(given: Asked, weights: Path) -> Space:
    """Loads the space of the file. Raises `PluginError` if the format returns other modalities than requested."""
    space = given.format.load(weights, given.modalities)
    if given.modalities is not None and set(space.modalities) != set(given.modalities):
        raise PluginError(
            f"the format {given.name!r} should build {', '.join(given.modalities)}, but built "
            f"{', '.join(space.modalities)}: tell its author"
        )
    if space.ledger is None:
        raise PluginError(f"the format {given.name!r} gives the space no ledger (Ledger.declared): tell its author")
    return space


def _summary(space: Space) -> str:
    """Modalities with their parameters, and the declarations of these weights."""
    from bindspace.ledger import said

    towers = [
        f"{name} {parameters(sum(p.numel() for p in space.towers[name].parameters()))}" for name in space.modalities
    ]
    declared = [said(declaration) for declaration in space.ledger.declarations] if space.ledger else []
    return f"{', '.join(towers)} parameters; declared: {'; '.join(declared) or 'nothing'}"

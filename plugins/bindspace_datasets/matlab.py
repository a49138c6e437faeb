"""Files of MATLAB: version 5, which SciPy reads, and version 7.3, which is HDF5 and which h5py reads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindspace import UserError

if TYPE_CHECKING:
    import numpy as np


def read_v5(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Variables of a `.mat` file of version 5. Raises `UserError` for another file, or one that lacks a variable."""
    scipy_io = _library("scipy.io", file)
    try:
        found = scipy_io.loadmat(file, variable_names=list(names))
    except Exception as error:  # SciPy raises all kinds of errors for damaged files
        raise _broken(file, "a MATLAB file of version 5", error) from error
    return {name: _held(found, name, file) for name in names}


@contextmanager
def open_v73(file: Path, names: Sequence[str]) -> Iterator[Any]:
    """An open `.mat` file of version 7.3 that holds these variables, last axis first. Raises `UserError` if not."""
    h5py = _library("h5py", file)
    try:
        opened = h5py.File(file, "r")
    except OSError as error:
        raise _broken(file, "a MATLAB file of version 7.3", error) from error
    with opened:
        for name in names:
            _held(opened, name, file)
        yield opened


def cell_texts(cells: np.ndarray) -> list[str]:
    """The texts of a cell array of version 5."""
    return [str(cell.ravel()[0]) if cell.size else "" for cell in cells.ravel()]


def referred_texts(file: Any, name: str) -> list[str]:
    """The texts of a cell array of version 7.3: references to arrays of character codes."""
    import numpy as np

    return ["".join(map(chr, np.ravel(file[reference]))) for reference in np.ravel(file[name])]


def _held(found: Any, name: str, file: Path) -> Any:
    if name not in found:
        raise UserError(f"{file}: expected a variable {name!r}, got none: download the file again")
    return found[name]


def _library(name: str, file: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(f"{file} is read by {package}, which is missing: pip install 'bindspace[datasets]'") from error


def _broken(file: Path, expected: str, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{file}: expected {expected}, got another or damaged file ({reason}): download it again")

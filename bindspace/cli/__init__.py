"""The command line: `bindspace VERB [key=value ...]`. One module a verb, imported when it is called."""

from __future__ import annotations

import errno
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

from bindspace.contract import BadSample, UserError, registry, unknown

# verb -> what it does; the function `run(arguments)` is in bindspace.cli.<module>
VERBS = {
    "train": ("train", "train a space from a config, or resume a run (run=FOLDER)"),
    "benchmark": ("benchmark", "measure the retrieval of every pair of modalities on a matched pool"),
    "compare": ("compare", "compare two benchmark reports, with interval and p"),
    "embed": ("embed", "write the vectors of files, texts or a manifest"),
    "import": ("importing", "convert third-party weights into a space folder"),
    "export": ("exporting", "write a space in a third-party format"),
    "manifest": ("manifest", "write a manifest of files in folders"),
    "shard": ("shard", "write a manifest and its files as tar shards, or index such shards"),
    "plugins": ("plugins", "list installed plugins, and those that failed to load, with the reason"),
    "new": ("new", "write a plugin package for a new modality, ready to train"),
    "check": ("check", "run the conformance kit on a modality plugin"),
}
HELP = ("-h", "--help", "help")
DISK = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip
OURS, USERS, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns 0, 1 for an internal error (with its traceback), 2 for a user error, 130."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning(warnings.showwarning)
            return _dispatch(arguments)
    except (UserError, BadSample) as error:
        print(f"bindspace: {_one_line(error)}", file=sys.stderr)
        return USERS
    except KeyboardInterrupt:
        print("bindspace: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `bindspace plugins | head`
        sys.stderr.close()
        return OURS
    except OSError as error:
        if error.errno not in DISK:
            traceback.print_exc()
            return OURS
        place = f" {error.filename}" if error.filename else ""
        reason = (error.strerror or "").lower()
        print(f"bindspace: cannot use{place}: {reason}: choose another folder or make room", file=sys.stderr)
        return USERS
    except Exception:
        traceback.print_exc()
        return OURS


def usage() -> str:
    """The text of `bindspace --help`."""
    lines = ["usage: bindspace VERB [key=value ...]      bindspace VERB --help explains one verb", ""]
    lines += [f"  {verb:<12} {text}" for verb, (_, text) in VERBS.items()]
    lines += [
        f"  {name:<12} write the data set {name!r} as a manifest and files"
        for name in registry.installed(registry.DATASETS)
    ]
    return "\n".join(
        [
            *lines,
            "",
            "  --version    print the version",
            "",
            "Quote arguments with brackets or blanks: '[A,B]'",
        ]
    )


def _dispatch(arguments: list[str]) -> int:
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in HELP:
        print(usage())
        return 0
    if verb == "--version":
        from bindspace import __version__

        print(f"bindspace {__version__}")
        return 0
    return _verb(verb)(rest)


def _verb(name: str) -> Callable[[list[str]], int]:
    if name in VERBS:
        return import_module(f"bindspace.cli.{VERBS[name][0]}").run
    datasets = registry.installed(registry.DATASETS)
    if name in datasets:
        from bindspace.cli import dataset

        return lambda arguments: dataset.run(name, arguments)
    raise UserError(unknown("command", name, [*VERBS, *datasets], hint="`bindspace --help` explains them"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _show_warning(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Prints bindspace's own warnings as one line; warnings of libraries stay unchanged."""

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: object) -> None:
        if category is UserWarning and "bindspace" in filename:
            print(f"bindspace: {message}", file=sys.stderr)
        else:
            otherwise(message, category, filename, *rest)

    return show

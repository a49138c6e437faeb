"""Runs every benchmark beside this file and writes RESULTS.md: `make bench`.

usage: python benchmarks/run_all.py [NAME ...]     Names without .py; none: all. Each runs in a process of its own, on
one thread; all together may take 15 minutes, for which the long ones get fewer rounds or cases than by hand. One that
fails or is stopped for that is named in RESULTS.md, and the exit code is 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from measure import begin

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
LIMIT = 15 * 60  # seconds for all together
SHORTER = {  # what keeps all of them within that
    "contrastive": ["--rounds", "1", "--sizes", "1024,16384"],  # rounds of 16,384 rows; small batches get more
    "imagebind_towers": ["--rounds", "1"],
    "retrieval_eval": ["--data", "aligned"],
}
HEAD = """# Results

Written by `make bench`. Times are CPU time of one thread, medians over interleaved rounds of one process (wall-clock
time on a GPU); compare within one table only. Peak memory is that of one call in a fresh process, above what was held
when it began.
"""


def main(chosen: list[str]) -> int:
    """Runs the chosen benchmarks, or all, and writes what they printed as tables."""
    machine, started, parts, failed = begin(), time.monotonic(), [], []
    names = sorted(path.stem for path in HERE.glob("*.py") if path != Path(__file__) and "__main__" in path.read_text())
    if wrong := [name for name in chosen if name not in names]:
        print(f"unknown benchmark {wrong[0]!r} (available: {', '.join(names)})", file=sys.stderr)
        return 2
    for name in chosen or names:
        left = LIMIT - (time.monotonic() - started)
        lines, problem, seconds = run(name, left)
        parts.append(section(name, lines, problem, seconds))
        failed += [name] if problem else []
    about = "\n".join(f"* {key}: {value}" for key, value in machine.items())
    RESULTS.write_text("\n".join([HEAD, f"The machine:\n\n{about}\n", *parts]), encoding="utf-8")
    print(f"{RESULTS}: {len(parts)} benchmarks in {time.monotonic() - started:.0f} s; failed: {failed or 'none'}")
    return 1 if failed else 0


def run(name: str, limit: float) -> tuple[list[dict[str, Any]], str, float]:
    """The JSON lines that a benchmark printed, what went wrong (or ""), and how long it took."""
    started, lines = time.monotonic(), []
    command = [sys.executable, str(HERE / f"{name}.py"), *SHORTER.get(name, [])]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        alarm = threading.Timer(max(0.0, limit), process.kill)
        alarm.start()
        for text in process.stdout:
            print(f"{name}: {text}", end="", flush=True)
            lines += parsed(text)
    alarm.cancel()
    seconds = time.monotonic() - started
    if seconds >= limit:
        return lines, "stopped: the 15 minutes of all benchmarks were over", seconds
    return lines, f"ended with exit code {process.returncode}" if process.returncode else "", seconds


def parsed(text: str) -> list[dict[str, Any]]:
    """The case that a line holds, if it is one."""
    try:
        line = json.loads(text)
    except ValueError:
        return []
    return [line] if isinstance(line, dict) and "machine" not in line else []  # the machine stands above


def section(name: str, lines: list[dict[str, Any]], problem: str, seconds: float) -> str:
    """A heading and one table a set of columns."""
    command = " ".join(["python", f"benchmarks/{name}.py", *SHORTER.get(name, [])])
    text = f"## {name}\n\n`{command}` took {seconds:.0f} s.\n"
    if problem:
        text += f"\n**{problem}**\n"
    tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        tables.setdefault(tuple(line), []).append(line)
    for columns, rows in tables.items():
        body = [" | ".join(str(row[column]) for column in columns) for row in rows]
        table = [" | ".join(columns), " | ".join("---" for _ in columns), *body]
        text += "\n" + "\n".join(f"| {row} |" for row in table) + "\n"
    return text


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

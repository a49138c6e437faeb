"""A run that is killed goes on, and ends where an unbroken one does."""

import hashlib
import json
import signal
import subprocess
import sys
import time

import pytest
from running import bindspace, quiet_environment

pytestmark = pytest.mark.process


def weights(run):
    return hashlib.sha256((run / "space" / "model.safetensors").read_bytes()).hexdigest()


def start_and_kill(arguments, cwd, checkpoint, saves):
    """Starts a process, and kills it when the checkpoint has been written so many times."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bindspace", *arguments],
        cwd=cwd,
        env=quiet_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen, stamp, deadline = 0, checkpoint.stat().st_mtime_ns if checkpoint.exists() else None, time.monotonic() + 300
    while seen < saves:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.002)
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != stamp:
            seen, stamp = seen + 1, checkpoint.stat().st_mtime_ns
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_killed_in_either_stage_ends_with_the_weights_of_an_unbroken_one(sources, tmp_path):
    often = [*sources, "trainer.checkpoint_every=2"]
    bindspace("train", *often, "out=unbroken", cwd=tmp_path)
    killed = tmp_path / "killed"
    checkpoint = killed / "checkpoints" / "last.ckpt"
    start_and_kill(["train", *often, "out=killed"], tmp_path, checkpoint, saves=2)
    start_and_kill(["train", "run=killed"], tmp_path, checkpoint, saves=4)  # by now in the second stage
    assert not (killed / "space").exists()
    bindspace("train", "run=killed", cwd=tmp_path)
    unbroken = tmp_path / "unbroken"
    assert weights(killed) == weights(unbroken)
    reports = [json.loads((run / "benchmark" / "report.json").read_text()) for run in (killed, unbroken)]
    assert reports[0]["pairs"] == reports[1]["pairs"]
    assert (killed / "space" / "ledger.media").read_bytes() == (unbroken / "space" / "ledger.media").read_bytes()
    columns = [(run / "metrics.csv").read_text() for run in (killed, unbroken)]
    assert columns[0] == columns[1]

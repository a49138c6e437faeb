"""The same config under torchrun and submitit; a job that is started again goes on where it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running import bindspace, quiet_environment
from safetensors.torch import load_file
from test_killed_run import start_and_kill, weights

pytestmark = pytest.mark.process
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731", "-m", "bindspace"]


def test_torchrun_trains_in_one_folder_what_lightnings_launcher_does(sources, tmp_path):
    bindspace("train", *sources, "out=two", "trainer.devices=2", cwd=tmp_path)
    command = [sys.executable, *TORCHRUN, "train", *sources, "trainer.devices=2"]
    done = subprocess.run(command, cwd=tmp_path, env=quiet_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folders = [path for path in (tmp_path / "outputs/default").iterdir() if not path.is_symlink()]
    assert len(folders) == 1
    assert (tmp_path / "outputs/default/latest").resolve() == folders[0]
    one, two = (load_file(run / "space/model.safetensors") for run in (tmp_path / "two", folders[0]))
    for name, weight in one.items():
        assert (weight - two[name]).abs().max() < 1e-6, name


def test_a_number_of_processes_that_does_not_fit_is_a_sentence(sources, tmp_path):
    command = [sys.executable, *TORCHRUN, "train", *sources]
    done = subprocess.run(command, cwd=tmp_path, env=quiet_environment(), capture_output=True, text=True)
    assert done.returncode != 0
    assert "bindspace: torchrun started 2 processes, and trainer.devices=1 x trainer.nodes=1 needs 1" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_job_of_submitit_goes_on_with_a_run_that_was_killed(sources, tmp_path):
    often = [*sources, "trainer.checkpoint_every=2"]
    bindspace("train", *often, "out=unbroken", "seed=1", cwd=tmp_path)
    job = [*often, "seed=1", "out=sweep", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=60"]
    checkpoint = tmp_path / "sweep/0/checkpoints/last.ckpt"
    start_and_kill(["train", "-m", *often, "seed=1,2", "out=sweep"], tmp_path, checkpoint, saves=2)
    assert not (tmp_path / "sweep/0/space").exists()
    bindspace("train", "-m", *job, cwd=tmp_path)
    assert weights(tmp_path / "sweep/0") == weights(tmp_path / "unbroken")
    assert Path(tmp_path / "sweep/.submitit").is_dir()

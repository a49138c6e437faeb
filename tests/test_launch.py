"""Which process of a run this is, by what started it."""

from __future__ import annotations

import pytest

from bindspace.cli.folders import named
from bindspace.contract.errors import UserError
from bindspace.settings import launch

VARIABLES = [
    *launch.RANKS,
    "WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_USE_AGENT_STORE",
]
VARIABLES += ["SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_JOB_NAME", "SLURM_RESTART_COUNT"]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}
SRUN = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "71", "SLURM_STEP_ID": "2"}


@pytest.fixture
def started(monkeypatch):
    """Sets what a launcher sets, and nothing of another."""

    def by(**variables: str) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return by


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, False),
        (TORCHRUN | {"RANK": "0"}, True),
        (TORCHRUN | {"RANK": "2"}, False),  # the first process of the second node
        (SRUN, True),
        (SRUN | {"SLURM_PROCID": "2"}, False),
        ({"NODE_RANK": "1"}, False),  # Lightning's own way, started by hand on each node
    ],
)
def test_one_process_of_all_nodes_is_the_first(started, variables, first):
    started(**variables)
    assert launch.is_first() is first


def test_another_attempt_at_a_job_is_known(started):
    started(**TORCHRUN, TORCHELASTIC_RESTART_COUNT="0")
    assert not launch.is_restart()
    started(**TORCHRUN, TORCHELASTIC_RESTART_COUNT="1")
    assert launch.is_restart()
    started(**SRUN, SLURM_RESTART_COUNT="2")
    assert launch.is_restart()


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_as_many_processes_as_the_settings_need_are_started(started, variables):
    started(**variables)
    launch.check_world(2, 2, named=False)
    with pytest.raises(UserError, match=r"started 4 processes, and trainer\.devices=1 x trainer\.nodes=2 needs 2"):
        launch.check_world(1, 2, named=True)


def test_several_nodes_need_a_launcher(started):
    started()
    launch.check_world(2, 1, named=False)
    with pytest.raises(UserError, match=r"trainer\.nodes=2: several nodes are started by torchrun or srun"):
        launch.check_world(1, 2, named=True)
    started(NODE_RANK="1")
    launch.check_world(1, 2, named=True)
    with pytest.raises(UserError, match="several nodes"):
        launch.check_world(1, 2, named=False)


def test_a_shell_of_an_interactive_job_is_no_launcher(started):
    started(**SRUN, SLURM_JOB_NAME="bash")
    launch.check_world(1, 1, named=False)


def test_under_slurm_a_run_is_named_after_its_step_on_all_ranks_and_after_a_requeue(started):
    started(**SRUN)
    first = named(None, "e")
    started(**SRUN | {"SLURM_PROCID": "3"}, SLURM_RESTART_COUNT="1")
    assert named(None, "e") == first
    assert first.parts[-3:] == ("outputs", "e", "job_71_2")


def test_under_torchrun_ranks_agree_on_a_name_in_its_store(started):
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = TORCHRUN | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    started(**shared, RANK="0")
    assert launch.agreed("a") == "a"
    started(**shared, RANK="1")
    assert launch.agreed("b") == "a"
    started(**shared, RANK="0", TORCHELASTIC_RESTART_COUNT="1")
    assert launch.agreed("c") == "a"
    started(**TORCHRUN, RANK="0")
    with pytest.raises(UserError, match="give out="):
        launch.agreed("a")


def test_waiting_for_the_first_rank_ends_in_a_sentence(tmp_path):
    launch.wait_for(tmp_path, patience=0)
    with pytest.raises(UserError, match="the folder must be one that all nodes see"):
        launch.wait_for(tmp_path / "gone", patience=0)

"""Who started this process, and which of the processes of a run it is: torchrun, SLURM, Lightning, or a person alone.

Read from the environment, before the ranks have met. Standard library only.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from bindspace.contract import UserError

# Each is unset or "0" in the first process of a run: torchrun sets RANK, srun SLURM_PROCID, Lightning the others.
RANKS = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
PATIENCE = 3600.0  # seconds that further ranks wait for the first, which may have a data set to write
PAGE = "see docs/many-machines.md"


def is_first() -> bool:
    """Whether this process is the first of its run: the one that names folders and writes."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_slurm() -> bool:
    """Whether srun started this process; a shell in an interactive job is no launcher."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_PROCID" in os.environ and "SLURM_NTASKS" in os.environ and not interactive


def is_restart() -> bool:
    """Whether this is another attempt at the same job: torchrun after a failure, or SLURM after a requeue."""
    return any(os.environ.get(f"{name}_RESTART_COUNT", "0") != "0" for name in ("TORCHELASTIC", "SLURM"))


def check_world(devices: int, nodes: int, *, named: bool) -> None:
    """Raises `UserError` unless as many processes were started as the settings need, where that is done outside.

    `named`: whether the run's folder is given; several nodes without a launcher cannot agree on one.
    """
    needed = f"trainer.devices={devices} x trainer.nodes={nodes}"
    if by_torchrun() or by_slurm():
        name, count = ("torchrun", "WORLD_SIZE") if by_torchrun() else ("srun", "SLURM_NTASKS")
        started = int(os.environ[count])
        if started != devices * nodes:
            raise UserError(
                f"{name} started {started} processes, and {needed} needs {devices * nodes}: let trainer.devices be the "
                f"processes on a node, and trainer.nodes the nodes; {PAGE}"
            )
    elif nodes > 1 and ("NODE_RANK" not in os.environ or not named):
        raise UserError(f"{needed}: several nodes are started by torchrun or srun, on each of them; {PAGE}")


def slurm_name() -> str:
    """A name for the run of this job's step, the same on all ranks and after a requeue."""
    return f"job_{os.environ['SLURM_JOB_ID']}_{os.environ.get('SLURM_STEP_ID', '0')}"


def agreed(name: str) -> str:
    """The name that the first rank chose under torchrun, on all ranks and after a restart: kept in torchrun's store."""
    from torch.distributed import TCPStore

    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise UserError("torchrun shares no store with its processes here, so they cannot agree on a folder: give out=")
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=PATIENCE))
    key = f"bindspace/{os.environ['TORCHELASTIC_RUN_ID']}"
    if is_first():
        store.compare_set(key, "", name)
    return store.get(key).decode()


def wait_for(path: Path, patience: float = PATIENCE) -> None:
    """Waits until the first rank has written a file. Raises `UserError` if it does not come."""
    until = time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > until:
            raise UserError(f"the first rank has not written {path}: the folder must be one that all nodes see")
        time.sleep(0.2)

"""A Slurm cluster of one node on the loopback address: `python slurm.py start|stop FOLDER`.

munge, slurmctld and slurmd are those of the system's packages (`slurm-wlm`, `munge` on Debian),
started by hand: no systemd, no cgroups, no accounting daemon. Everything lies in one folder, which
`environment` names to the clients. Needs root, as slurmd does.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol")

CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=5,bf_interval=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
InactiveLimit=0
KillWait=20
MinJobAge=300
MaxArraySize=11
MaxJobCount=40
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE OverSubscribe=FORCE:{over} State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    lacking = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name) is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def environment(folder: Path) -> dict[str, str]:
    """What the clients of the cluster in `folder` must find in their environment."""
    return {"SLURM_CONF": str(folder / "slurm.conf")}


def start(folder: Path, *, slots: int = 3) -> None:
    """Start the daemons, and return when the node takes jobs.

    Args:
        folder: of the cluster; made if missing. Its path must be short, as those of sockets are.
        slots: jobs of one CPU that run at once, whatever this machine has.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    folder.chmod(0o755)
    _daemon(
        "munged", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
        f"--seed-file={folder}/munge.seed",
    )  # fmt: skip
    cpus = os.cpu_count() or 1
    text = CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        folder=folder,
        controller=_free_port(),
        daemon=_free_port(),
        cpus=cpus,
        over=-(-slots // cpus),
    )
    (folder / "slurm.conf").write_text(text)
    _daemon("slurmctld", "-f", str(folder / "slurm.conf"), "-c")
    _daemon("slurmd", "-f", str(folder / "slurm.conf"), "-c")
    deadline = time.monotonic() + 60
    while True:
        told = run("sinfo", "--noheader", "--format=%t", folder=folder)
        if told in ("idle", "mix"):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"no node: {told}")
        time.sleep(0.5)


def stop(folder: Path) -> None:
    """End all jobs and the daemons of the cluster in `folder`."""
    run("scancel", "--signal=KILL", "--user=root", folder=folder)
    run("scancel", "--user=root", folder=folder)
    for name in ("slurmd", "slurmctld", "munged"):
        try:
            pid = int((folder / f"{name}.pid").read_text())
            os.kill(pid, signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            continue
        for _ in range(100):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)


def run(*command: str, folder: Path) -> str:
    """What a client of the cluster in `folder` prints, on either stream."""
    done = subprocess.run(  # noqa: S603 - fixed commands
        command,
        env={**os.environ, **environment(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip()


def _daemon(*command: str) -> None:
    subprocess.run(command, timeout=60, check=True)  # noqa: S603 - fixed commands


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    action, place = sys.argv[1], Path(sys.argv[2]).absolute()
    {"start": start, "stop": stop}[action](place)

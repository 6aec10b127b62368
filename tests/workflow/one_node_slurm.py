"""A Slurm cluster of this one machine, for tests: own ports and folders, and while it runs /etc/slurm/slurm.conf."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

# Snakemake's jobs keep no SLURM_CONF: the configuration has to lie where Debian's Slurm looks for it.
SYSTEM = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SchedulerParameters=bf_interval=1,sched_interval=1,defer_batch
KillWait=5
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if absent := [name for name in PROGRAMS if not shutil.which(name)]:
        return f"needs {', '.join(absent)} (Debian: apt-get install slurm-wlm munge)"
    if os.getuid() != 0:
        return "needs root: slurmd starts jobs as their users"
    if SYSTEM.exists():
        return f"needs a machine without a Slurm of its own: {SYSTEM} is there"
    return None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Cluster:
    """Running while it is used in `with`."""

    def __init__(self, folder: Path):
        """`folder` is new and its path short: sockets have short names."""
        self.folder, self.daemons = folder, []
        host = socket.gethostname().split(".")[0]
        self.node = host
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        values = {
            "host": host,
            "folder": folder,
            "ctld_port": free_port(),
            "slurmd_port": free_port(),
            "cpus": os.cpu_count(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 3 // 4,
        }
        (folder / "slurm.conf").write_text(CONF.format(**values))

    def __enter__(self):
        SYSTEM.parent.mkdir(exist_ok=True)
        SYSTEM.unlink(missing_ok=True)
        SYSTEM.symlink_to(self.folder / "slurm.conf")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        names = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self.start("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *names)
        self.wait(lambda: (self.folder / "munge.socket").exists())
        self.start("slurmctld", "-D")
        self.start("slurmd", "-D", "-N", self.node)
        self.wait(lambda: "idle" in self.command("sinfo", "-h", "-o", "%T"))
        return self

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.terminate()
        with contextlib.suppress(FileNotFoundError):
            SYSTEM.unlink()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def start(self, *command):
        """Start a daemon in the foreground."""
        with open(self.folder / f"{command[0]}.out", "w") as log:
            self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log))

    def command(self, *command) -> str:
        """What one of Slurm's commands prints; empty when it fails."""
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def wait(self, done, seconds: int = 60):
        """Until `done()`; raises TimeoutError with what the daemons said."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                said = "".join(path.read_text()[-1500:] for path in sorted(self.folder.glob("*.out")))
                raise TimeoutError(f"Slurm does not start: {said}")
            time.sleep(0.2)

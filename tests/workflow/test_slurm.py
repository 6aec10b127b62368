"""On a Slurm cluster of one node: the same table; a job or node that goes away is told, and the next run goes on."""

import importlib.util
import re
import subprocess
from pathlib import Path

import one_node_slurm
import pytest
import yaml
from conftest import CUT, ROOT

# A run mostly waits for the plugin's next look at the queue.
IMPATIENT = Path(__file__).with_name("impatient_snakemake.py")

pytestmark = pytest.mark.toolkit


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if why := one_node_slurm.missing():
        pytest.skip(why)
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("needs Snakemake's Slurm plugin (make slurm)")
    with one_node_slurm.Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def work(tmp_path):
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump(CUT))
    return tmp_path


def command(*more):
    return ["python", IMPATIENT, "-s", ROOT / "Snakefile", "--configfile", "cut.yaml", "--workflow-profile",
            ROOT / "profiles/slurm", "--slurm-status-command", "squeue", "--slurm-no-account", *more]  # fmt: skip


def run(work, environment, *arguments):
    """Run Snakemake in the folder `work`; the finished process has both streams in stdout."""
    return subprocess.run(command(*arguments), cwd=work, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)  # fmt: skip


def test_the_table_is_the_local_one_and_light_steps_share_jobs(cluster, work, cut_run, python_env):
    done = run(work, python_env, "-p")
    assert done.returncode == 0, done.stdout
    assert (work / "results/cut/table.csv").read_bytes() == (cut_run / "table.csv").read_bytes()
    # 17 steps, 3 of them on this machine: 7 entries in the queue.
    assert len(re.findall("has been submitted with SLURM jobid", done.stdout)) == 7
    assert "Nothing to be done" in run(work, python_env, "-n").stdout


def no_more(cluster):
    """Cancel the running job."""
    [job] = cluster.command("squeue", "-h", "-t", "running", "-o", "%i").split()
    cluster.command("scancel", job)


def goes_down(cluster):
    """Take the node away, with what runs on it."""
    cluster.command("scontrol", "update", f"nodename={cluster.node}", "state=down", "reason=test")


@pytest.mark.parametrize(("accident", "status"), [(no_more, "CANCELLED"), (goes_down, "NODE_FAIL")])
def test_what_the_cluster_takes_away_is_told_and_the_next_run_goes_on(cluster, work, python_env, accident, status):
    begun = command("--until", "draw_scenes", "--slurm-no-requeue", "--config", "draw={images: 3000}")
    log = work / "log"
    with open(log, "w") as file:
        process = subprocess.Popen(begun, cwd=work, env=python_env, stdout=file, stderr=file)
    cluster.wait(lambda: list((work / "results/cut").glob(".drawn.*.part")), 120)
    accident(cluster)
    try:
        assert process.wait(120) != 0
    finally:
        process.kill()
        cluster.command("scontrol", "update", f"nodename={cluster.node}", "state=resume")
    told = [line for line in log.read_text().splitlines() if "SLURM status is" in line]
    assert len(told) == 1 and f"'{status}'" in told[0]
    assert "Traceback" not in log.read_text()
    assert not (work / "results/cut/drawn").exists()
    cluster.wait(lambda: "idle" in cluster.command("sinfo", "-h", "-o", "%T"))
    again = run(work, python_env, "--until", "draw_scenes", "--config", "draw={images: 4}")
    assert again.returncode == 0, again.stdout
    assert len(list((work / "results/cut/drawn/images").glob("*.jpg"))) == 4
    assert not list((work / "results/cut").glob(".*.part"))

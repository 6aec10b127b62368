"""Compare the time of the workflow with that of a plain script for the same rows: python benchmarks/sweep.py

Runs, one after the other on this machine:
  - plain_sweep.py of this folder, on one core
  - the config's sweep by `snakemake -jN`, in a fresh copy of this project
  - `snakemake` once more, with nothing to do, beside an empty Snakefile
  - quantize.py of one variant on all images, by one process and by two
and prints seconds, CPU seconds, the ratios, and the memory of the largest job. What counts is the ratios, because
machines differ, and the same machine differs from hour to hour. --overlay names local copies if there is no network.
"""

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from functools import partial

import yaml
from snakemake.utils import update_config

from lib import tasks
from lib.data.checked_labels import Labelling
from lib.data.dataset import gather
from lib.data.formats import layout
from lib.data.formats.source import Hints
from lib.data.names import read_names
from lib.step.errors import UserError, run_step

STARTS = 5  # of Snakemake with nothing to do; the fastest of them counts


class Spent(NamedTuple):
    """Wall-clock seconds, and CPU seconds of a command with all its children."""

    wall: float
    cpu: float


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overlay", type=Path, metavar="FILE.yaml", help="an overlay over config/config.yaml")
    parser.add_argument("--cores", type=int, default=2, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there and leave all files")
    args = parser.parse_args()
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    if args.overlay:
        update_config(config, yaml.safe_load(args.overlay.read_text()))
    with tempfile.TemporaryDirectory() as scratch:
        work = (args.keep or Path(scratch)).resolve()
        work.mkdir(exist_ok=True)
        measure(config, args.cores, work)


def measure(config: dict, cores: int, work: Path) -> None:
    """Run everything in the folder `work` and print as it goes."""
    project, run = copy_project(work / "project"), Path("results") / config["run"]
    (project / "benchmark.yaml").write_text(yaml.safe_dump(config))
    snakemake = ["snakemake", f"-j{cores}", "--configfile", "benchmark.yaml"]
    # Inputs are made first and not timed: the plain script gets them too.
    spend([*snakemake, "--until", "download_weights", "split_dataset"], project)
    sweep = config["sweep"]
    model = sweep["model"][0]
    dataset = flat_dataset(project / run / "dataset", work / "dataset", config["dataset"]["names"])
    plain = spend(
        [*on_one_core(), "python", ROOT / "benchmarks" / "plain_sweep.py",
         project / run / "weights" / model / f"{model}.pt", dataset, work / "plain", "--sizes", *sweep["imgsz"],
         "--max-images", *sweep["max_images"], "--heads", *sweep["head"]],
        work,
    )  # fmt: skip
    report("plain script, one core", plain)
    shutil.rmtree(project / "results")
    workflow = spend(snakemake, project)
    report(f"workflow, -j{cores}", workflow, plain)
    (work / "empty").mkdir(exist_ok=True)
    (work / "empty" / "Snakefile").touch()
    both = [(spend(snakemake, project), spend(["snakemake", f"-j{cores}"], work / "empty")) for _ in range(STARTS)]
    nothing, empty = map(min, zip(*both))
    report("workflow, nothing to do", nothing, empty, "an empty Snakefile")
    largest = max(memory(project / run / "benchmarks"))
    print(f"largest job: {largest[1]}, {largest[0]:.0f} MB (PSS)", flush=True)
    single, double = (one_variant(config, project, run, processes) for processes in (1, 2))
    report("one variant on all images, 1 process", single)
    report("the same, 2 processes", double, single, "one process")


def one_variant(config: dict, project: Path, run: Path, processes: int) -> Spent:
    """quantize.py at 320 (or the first size) with the head 'split', on all images of the data set."""
    sweep = config["sweep"]
    size = "320" if 320 in sweep["imgsz"] else str(sweep["imgsz"][0])
    return spend(
        ["python", "scripts/quantize.py", "--onnx", run / "onnx" / sweep["model"][0] / size / "split.onnx",
         "--calibration", run / "calibration" / size / str(sweep["max_images"][0]) / "images.txt",
         "--ranges", run / "calibration" / size / "ranges" / sweep["model"][0] / "split.npz",
         "--platform", config["platform"], "--algorithm", "normal", "--dataset", run / "dataset", "--part", "all",
         "--names", config["dataset"]["names"], "--processes", processes, "--output", "one/model.rknn",
         "--build", "one/build.json", "--detections", "one/detections.npz", "--log", "one/build.log"],
        project,
    )  # fmt: skip


def copy_project(target: Path) -> Path:
    """This project's files without results, in a new folder."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def flat_dataset(source: Path, target: Path, names: str) -> Path:
    """Make a copy of the data set with only images and labels."""
    target.mkdir()
    gather(
        layout.read(layout.find(source, Hints()), Hints()),
        target / "images",
        target / "labels",
        Labelling(partial(tasks.get(tasks.DEFAULT).check_label, classes=len(read_names([str(ROOT / names)])))),
    )
    return target


def on_one_core() -> list[str]:
    """The words to put before a command so that it runs on one core."""
    if not shutil.which("taskset"):
        raise UserError("there is no taskset (util-linux) to keep the plain script on one core")
    return ["taskset", "-c", str(min(os.sched_getaffinity(0)))]


def spend(command: list, folder: Path) -> Spent:
    """Run a command in a folder and return what it took. Raises UserError with its last output if it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    # Switches of Python itself, which users do not set: some machines compile every module again in every process.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = list(map(str, command))
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"{' '.join(command[:4])} … failed:\n{done.stdout[-2000:]}")
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def report(what: str, spent: Spent, other: Spent | None = None, reference: str = "the plain script") -> None:
    """Print one line, with ratios to `other` if it is given."""
    line = f"{what}: {spent.wall:.1f} s, {spent.cpu:.1f} s of CPU"
    if other:
        line += f"; {spent.wall / other.wall:.2f} of the time and {spent.cpu / other.cpu:.2f} of the CPU of {reference}"
    print(line, flush=True)


def memory(benchmarks: Path):
    """(MB of PSS, job) of each job of a run, from Snakemake's benchmarks."""
    for path in benchmarks.rglob("*.tsv"):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if row["max_pss"] not in ("NA", "-"):
                    yield float(row["max_pss"]), str(path.relative_to(benchmarks).with_suffix(""))


if __name__ == "__main__":
    sys.exit(run_step(main))

"""What the Snakemake rules need beyond Snakemake: a checked config, one run per folder, options, which jobs run."""

import fcntl
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO

import yaml

from lib.step.config import repeated_keys, with_numbers
from lib.step.errors import UserError


def checked_config(
    given: dict,
    files: Iterable[Path],
    defaults: Path,
    schema: dict,
    problems: Callable[[dict, dict], list[str]],
    tidied: Callable[[dict], dict] = lambda config: config,
) -> dict:
    """The config in the YAML file `defaults` with `given` laid over it, numbers as numbers.

    `files` are those that `given` was read from. `problems` lists what is wrong with a config under the schema, one
    sentence each. `tidied` may drop what the defaults hold but `given` has no use for. Raises UserError with all
    sentences, also for a key that is in a file twice.
    """
    refuse(sorted(problem for path in set(files) for problem in repeated_keys(path)))
    config = laid_over(yaml.safe_load(defaults.read_text(encoding="utf-8")), given)
    config = with_numbers(tidied(config), schema)
    refuse(problems(config, schema))
    return config


def refuse(problems: list[str]) -> None:
    """Raise UserError with everything that is wrong with a config, one sentence per problem; do nothing without any."""
    if problems:
        raise UserError("\n".join(["the config is not usable:", *(f"  {problem}" for problem in problems)]))


def laid_over(config: Mapping, overlay: Mapping) -> dict:
    """`config` with `overlay` laid over it: blocks of keys are merged, everything else is replaced."""
    merged = dict(config)
    for key, value in overlay.items():
        if isinstance(value, Mapping):
            block = merged.get(key)
            value = laid_over(block if isinstance(block, Mapping) else {}, value)
        merged[key] = value
    return merged


def sole_run(folder: Path, warn: Callable[[str], None]) -> TextIO:
    """An open file whose lock keeps other runs out of `folder` until this process ends, whatever ends it.

    Raises UserError when another run works there, on this machine or on one that shares its disk. Calls `warn` with
    one sentence where the disk does not support locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".running").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise UserError(
            f"another run works in {folder}: {file.read().strip()}; wait until it ends, or choose another `run`"
        ) from None
    except OSError as error:
        warn(f"{folder}: its disk does not support locks ({error}), so a second run in it would not be noticed")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


# Snakemake's default for --max-jobs-per-timespan: jobs, seconds.
_DEFAULT_RATE = 100, 1


def plan_without_timers(workflow) -> None:
    """Lift the default limit of 100 jobs per second for jobs on this machine; call it when the first job begins.

    With any limit, Snakemake 9 looks for jobs that may begin after each timespan anew, in as many chains of timers as
    jobs have ended. In a run of 100 jobs that took a tenth of all CPU time, and the run waited for the last timers. A
    limit that the user has set stays, and so does that of a cluster.
    """
    scheduler, settings = getattr(workflow, "scheduler", None), getattr(workflow, "scheduling_settings", None)
    rate = getattr(settings, "max_jobs_per_timespan", None)
    if rate is None or not getattr(workflow, "local_exec", False) or not hasattr(scheduler, "job_rate_limiter"):
        return  # another version of Snakemake, or a cluster
    if (rate.max_jobs, rate.timespan) == _DEFAULT_RATE:
        scheduler.job_rate_limiter = None


def look_at_memory_less_often() -> None:
    """Have Snakemake look at a job's memory every two seconds, for `benchmark`; call it when the first job begins.

    It looks twice a second, and each time the kernel goes through all pages of the job's processes. That took 3 % of
    the CPU time of a sweep. The jobs with much memory take several seconds.
    """
    from snakemake import benchmark

    if hasattr(benchmark, "BENCHMARK_INTERVAL_SHORT"):  # in seconds; another version may not have it
        benchmark.BENCHMARK_INTERVAL_SHORT = 2.0


def judge_behind_ancient(graph: type) -> None:
    """Let Snakemake's class of graphs, `DAG`, also judge by itself a job behind `ancient` files that are made again.

    Snakemake looks for a reason to run a job only where no job before it runs, because the latter would be a reason.
    A job that is made again before an `ancient` file is none, so a job without output, or with changed code, was left
    out: `snakemake board` ended without asking the board.
    """
    if graph.bfs.__module__ == __name__:
        return  # two modules of one workflow
    whole = graph.bfs

    def bfs(self, direction, *jobs, **stop):
        if direction is not self.depending or any(map(self.in_omitfrom, jobs)):
            yield from whole(self, direction, *jobs, **stop)
            return
        queue, seen = [*jobs], {*jobs}
        while queue:
            yield (job := queue.pop())
            for behind, files in direction[job].items():
                if behind not in seen and not all(file.is_ancient for file in files):
                    seen.add(behind)
                    queue.append(behind)

    graph.bfs = bfs


def beside(asked: Mapping[str, list], swept: Mapping[str, list]) -> dict[str, list[str]]:
    """For each key, the values of `asked` that `swept` lacks, as text; none where a list of `asked` is empty."""
    if not all(asked.values()):
        return {}
    known = {key: set(map(str, values)) for key, values in swept.items()}
    others = {key: [str(value) for value in values if str(value) not in known[key]] for key, values in asked.items()}
    return {key: values for key, values in others.items() if values}


def options(block: Mapping, prefix: str = "") -> list[str]:
    """A block of the config as a command's options, named like its keys; a value of None gives no option.

    A key in a nested block is called `outer.inner`, as in DVC.
    """
    words = []
    for key, value in block.items():
        if isinstance(value, Mapping):
            words += options(value, f"{prefix}{key}.")
        elif value is not None:
            words += [f"--{prefix}{key}", *map(str, value if isinstance(value, list) else [value])]
    return words

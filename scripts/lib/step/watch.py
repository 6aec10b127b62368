"""What a Snakemake run shows on the terminal: its progress and, when it failed, why, in the failed step's words.

Snakemake's lines about each job go only to its log file, unless the user asks for them. Snakemake 7 passes messages as
dicts, later versions as records of Python's logging; both are turned into a kind and its fields.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

# Messages about single jobs, and tables of the jobs that will run.
CHATTER = {"job_info", "job_error", "job_finished", "group_info", "group_error", "shellcmd", "progress", "run_info",
           "resources_info", "workflow_started"}  # fmt: skip
# Snakemake's own words for a step that ended with an error; the step's words say more.
FAILED = ("Exiting because a job execution failed", "Error in rule", "RuleException:\nCalledProcessError")
STOPPED = "Terminating processes on user request"  # what it says after Ctrl-C
SHARES = 4  # where the terminal is a file: one line after each quarter of the jobs


@dataclass(frozen=True)
class _Failure:
    """A job that failed: its name, its logs, and what the cluster that ran it says about it."""

    title: str
    logs: tuple[str, ...] = ()
    reason: str | None = None


class Watch:
    """Follows the jobs of a run: shows how many are done, and keeps what is known about those that fail.

    rules: names of the rules whose jobs have begun. With `terminal` None it shows nothing.
    """

    def __init__(self, terminal: TextIO | None):
        self.terminal = terminal
        self.rules: set[str] = set()
        self._bar = None
        self._titles: dict[int, str] = {}
        self._failed: dict[int, _Failure] = {}
        self._shares_shown = 0
        self._is_stopped = False

    def take(self, kind: str, fields: dict) -> None:
        """Handle one message of Snakemake's."""
        name = fields.get("rule_name") or fields.get("name")
        if kind == "job_info":
            self.rules.add(name)
            self._titles[fields["jobid"]] = fields.get("rule_msg") or fields.get("msg") or name
            self._show(self._titles[fields["jobid"]])
        elif str(fields.get("msg")).startswith(STOPPED):
            self._is_stopped = True
        elif kind == "progress":
            self._advance(fields["done"], fields["total"])
        elif kind in ("job_error", "group_error"):
            for failed_job in fields.get("job_error_info") or [{**fields, "name": name}]:
                self._fail(failed_job)

    def _show(self, title: str) -> None:
        """Show the title of the job that begins after the progress bar."""
        if self.terminal is not None and self.terminal.isatty():
            if self._bar is None:
                self._bar = tqdm(total=0, unit="job", file=self.terminal, leave=False, dynamic_ncols=True)
            self._bar.set_postfix_str(title)

    def _advance(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.total = total
            self._bar.n = done
            self._bar.refresh()
        elif self.terminal is not None:
            share = done * SHARES // total
            if share > self._shares_shown:
                print(f"{done} of {total} jobs are done", file=self.terminal, flush=True)
            self._shares_shown = max(share, self._shares_shown)

    def _fail(self, fields: dict) -> None:
        """Record a failed job. Snakemake reports each job of a group twice: with the group, and by itself."""
        number = fields["jobid"]
        title = self._titles.get(number) or fields.get("rule_name") or fields["name"]
        known = self._failed.get(number, _Failure(title))
        # Snakemake 7 has the reason as `msg`; in later versions `msg` is Snakemake's own "Error in rule …".
        reason = fields.get("rule_msg" if "rule_msg" in fields else "msg")
        self._failed[number] = _Failure(title, tuple(fields.get("log") or known.logs), reason or known.reason)

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def failures(self) -> str:
        """Which jobs failed and why: for each its name and log, what a cluster says about it, and its last error.

        A job that Ctrl-C ended without an error has not failed.
        """
        lines = []
        for failure in self._failed.values():
            logs = [log for log in failure.logs if Path(log).exists()] or failure.logs
            where = f" (log: {', '.join(logs)})" if logs else ""
            sentence = next(filter(None, map(last_error, failure.logs)), None)
            if self._is_stopped and not (sentence or failure.reason):
                continue
            lines += [f"{failure.title}: failed{where}", *filter(None, (failure.reason, sentence))]
        return "\n".join(lines) or "the run was stopped; the same command resumes it"


def last_error(log: str) -> str | None:
    """The last error message in a step's log; None where there is none."""
    try:
        text = Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    _, mark, sentence = f"\n{text}".rpartition("\nerror: ")
    return f"error: {sentence.strip()}" if mark else None


def watch(logger, wants_chatter: bool) -> tuple[Watch, Callable[[], None]]:
    """Follow the jobs of Snakemake's `logger` and keep its lines about them off the terminal.

    Also returns a function to call when the first job begins. The lines stay on the terminal where the user wants them
    (`wants_chatter`), and where a logger plugin writes to it.
    """
    terminals = [] if wants_chatter else [handler for handler in _handlers(logger) if _is_terminal(handler)]
    # Snakemake 7 gives its plain lines the level of a warning, and its warnings a higher one.
    followed, hush = (
        Watch(sys.stderr if terminals else None),
        _Hush(logging.ERROR if is_old(logger) else logging.WARNING),
    )
    for handler in terminals:
        handler.addFilter(hush)

    def begin() -> None:
        hush.running = True
        if is_old(logger):
            logger.log_handler.append(lambda message: followed.take(message["level"], message))
        else:
            logger.addHandler(_Follower(followed))

    return followed, begin


def asks_for_chatter(logger, workflow) -> bool:
    """Whether the command line wants Snakemake's lines about jobs (-p, --verbose), or nothing but these (-n)."""
    settings = getattr(workflow, "output_settings", None)
    if settings is None:  # Snakemake 7
        return logger.dryrun or logger.printshellcmds or logger.logger.level <= logging.DEBUG
    return settings.dryrun or settings.printshellcmds or settings.verbose


def is_old(logger) -> bool:
    """Whether Snakemake's `logger` is that of version 7."""
    return hasattr(logger, "log_handler")


def _handlers(logger) -> list[logging.Handler]:
    return list((logger.logger if is_old(logger) else logger).handlers)


def _is_terminal(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)


class _Hush(logging.Filter):
    """Lets errors through and, until the first job runs, everything else that is not about single jobs."""

    def __init__(self, lowest: int):
        super().__init__()
        self.lowest, self.running = lowest, False

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if getattr(record, "event", None) in CHATTER or text.startswith(FAILED):
            return False
        return record.levelno >= self.lowest or not self.running


class _Follower(logging.Handler):
    """Passes Snakemake's log records to a `Watch`."""

    def __init__(self, followed: Watch):
        super().__init__()
        self._followed = followed

    def emit(self, record: logging.LogRecord) -> None:
        self._followed.take(str(getattr(record, "event", "")), vars(record))

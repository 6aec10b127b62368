"""What a run shows on the terminal, and what a command line of Snakemake's may not say."""

import contextlib
import io
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT

from lib.step import console
from lib.step.command_line import problems
from lib.step.watch import Watch


class Terminal(io.StringIO):
    def isatty(self):
        return True


def job(number: int, title: str) -> tuple[str, dict]:
    return "job_info", {"jobid": number, "rule_name": "quantize", "rule_msg": title}


def test_a_file_gets_four_lines_however_many_jobs_there_are():
    file = io.StringIO()
    watch = Watch(file)
    for done in range(1, 1001):
        watch.take(*job(done, "Quantize"))
        watch.take("progress", {"done": done, "total": 1000})
    assert file.getvalue().splitlines() == [f"{done} of 1000 jobs are done" for done in (250, 500, 750, 1000)]
    assert watch.rules == {"quantize"}


def test_a_terminal_gets_one_line_with_what_runs_and_it_goes_away():
    terminal = Terminal()
    watch = Watch(terminal)
    watch.take(*job(1, "Quantize yolov8n"))
    watch.take("progress", {"done": 1, "total": 2})
    watch.close()
    shown = terminal.getvalue()
    assert "1/2" in shown and "Quantize yolov8n" in shown and shown.count("\n") == 0


def test_failed_jobs_are_told_in_their_steps_words_the_sentence_last(tmp_path):
    (tmp_path / "a.log").write_text("error: an early one\nchatter\nerror: too wide:\n  by 2 px\n")
    (tmp_path / "b.log").write_text("chatter alone\n")
    watch = Watch(None)
    for number, name in enumerate("ba"):
        watch.take(*job(number, f"Make {name}"))
    logs = {"log": [str(tmp_path / "b.log"), str(tmp_path / "of a command that did not begin.log")]}
    watch.take("job_error", {"jobid": 0, "rule_name": "quantize", **logs})
    # Of jobs that a cluster runs as one.
    watch.take("group_error", {"job_error_info": [{"jobid": 1, "name": "quantize", "log": [str(tmp_path / "a.log")]}]})
    assert watch.failures().splitlines() == [
        f"Make b: failed (log: {tmp_path / 'b.log'})",
        f"Make a: failed (log: {tmp_path / 'a.log'})",
        "error: too wide:",
        "  by 2 px",
    ]
    assert Watch(None).failures() == "the run was stopped; the same command resumes it"


def test_a_job_that_ctrl_c_ends_has_not_failed(tmp_path):
    (tmp_path / "a.log").write_text("error: the disk is full\n")
    watch = Watch(None)
    # Snakemake 7 says it as a message of the level `info`.
    watch.take("info", {"msg": "Terminating processes on user request, this might take some time."})
    watch.take("job_error", {"jobid": 0, "rule_name": "draw_scenes", "log": [str(tmp_path / "b.log")]})
    assert watch.failures() == "the run was stopped; the same command resumes it"
    watch.take("job_error", {"jobid": 1, "rule_name": "quantize", "log": [str(tmp_path / "a.log")]})
    assert watch.failures().splitlines()[1] == "error: the disk is full"


def test_what_a_cluster_says_of_a_job_is_shown_and_a_groups_jobs_once():
    watch = Watch(None)
    for number in (0, 1):
        watch.take(*job(number, f"Make {number}"))
    members = [
        {"jobid": number, "rule_name": "quantize", "rule_msg": None, "log": [f"{number}.log"]} for number in (0, 1)
    ]
    watch.take("group_error", {"msg": "Error in group variant", "job_error_info": members})
    for member in members:
        watch.take("job_error", {**member, "msg": "Error in rule quantize, jobid: 0"})
    status = "SLURM-job '7' failed, SLURM status is: 'CANCELLED'."
    watch.take("job_error", {"jobid": 2, "rule_name": "draw_scenes", "rule_msg": status, "log": ["2.log"]})
    assert watch.failures().splitlines() == [
        "Make 0: failed (log: 0.log)", "Make 1: failed (log: 1.log)", "draw_scenes: failed (log: 2.log)", status,
    ]  # fmt: skip


def test_a_step_of_a_quiet_run_warns_and_leaves_the_rest_to_its_log(tmp_path, monkeypatch, capfd):
    with open(tmp_path / "log", "w") as log:
        monkeypatch.setattr(console, "_log", tmp_path / "log")
        monkeypatch.setattr(console, "_terminal", terminal := io.StringIO())
        monkeypatch.setenv(console.QUIET, "1")
        for line in ("made it", "WARNING: no sha256", "error: no model"):
            console.say(line, stream=log)
        log.close()
        # Its disk is full: a log that cannot be written must not swallow the sentence.
        with contextlib.suppress(OSError), open("/dev/full", "w") as full:
            console.say("error: disk full", stream=full)
    assert (tmp_path / "log").read_text().splitlines() == ["made it", "WARNING: no sha256", "error: no model"]
    assert terminal.getvalue().splitlines() == ["WARNING: no sha256", "error: disk full"]
    assert not console.terminal().isatty()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("bundle -j4 --configfile mine.yaml --config run=x 'a={b: 1}'", None),
        ("-n --config run=x -- bundle", None),
        ("--configfile mine.yaml more.yaml -n", None),
        ("--configfile mine.yaml bundle -j4", "name the target first: snakemake bundle --configfile mine.yaml -j4"),
        ("-j4 --config run=x bundle", "name the target first: snakemake bundle -j4 --config run=x"),
        ("--config run=x results/x", "--config takes all words after it, and 'results/x' is not KEY=VALUE"),
        ("--configfile nosuch.yaml -n", "the config file nosuch.yaml does not exist"),
        ("--configfile=nosuch.yaml", "the config file nosuch.yaml does not exist"),
        ("--configfiles folder", "the config file folder is a folder; name a file"),
        (
            "--configfile tabs.yaml",
            "the config file tabs.yaml is not valid YAML, line 2: found character '\\t' that cannot start",
        ),
        (
            "--configfile loop.yaml",
            "the config file loop.yaml cannot be used: line 3: the block contains itself through an alias (*)",
        ),
        ("--configfile deep.yaml", "the config file deep.yaml cannot be used: its blocks are nested too deeply"),
        ("--configfile text.yaml", "the config file text.yaml contains no keys, such as `run: mine`"),
        ("--configfile empty.yaml", None),
        ("--configfile utf16.yaml", "the config file utf16.yaml is not in UTF-8; save it in this encoding"),
    ],
)
def test_a_command_that_would_end_in_a_traceback_is_told(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "more.yaml"):
        (tmp_path / name).write_text("run: mine\n")
    (tmp_path / "tabs.yaml").write_text("run: a\nsplit:\tb\n")
    (tmp_path / "loop.yaml").write_text("run: a\nsweep:\n  model: &a [yolov8n, *a]\n")
    (tmp_path / "deep.yaml").write_text("run: " + "[" * 600 + "]" * 600)
    (tmp_path / "text.yaml").write_text("mine\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "utf16.yaml").write_text("run: mine\n", encoding="utf-16")
    (tmp_path / "folder").mkdir()
    told = list(problems(words.replace("'", "").replace("{b: 1}", "{}").split()))
    assert len(told) == (sentence is not None)
    assert sentence is None or sentence in told[0]


def test_the_working_folders_own_config_is_looked_at_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("sweep: &a\n  model: *a\n")
    sentence = (
        "the config file config/config.yaml cannot be used: line 1: the block contains itself through an alias (*)"
    )
    assert list(problems(["-n"])) == [sentence]


def test_snakemake_7_asks_too_as_it_reads_its_profile(tmp_path):
    """A later Snakemake has another file, which a test of a whole run covers."""
    read = (
        "import sys; from snakemake.profiles import ProfileConfigFileParser\n"
        "print(ProfileConfigFileParser().parse(open(sys.argv.pop(1)))['nolock'])"
    )
    command = [sys.executable, "-c", read, ROOT / "profiles" / "default" / "config.yaml", "--cores", "1"]
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True)
    done = run([*command, "--config", "run=x", "bundle"])
    assert done.returncode == 1
    assert done.stderr.endswith("name the target first: snakemake bundle --cores 1 --config run=x\n")
    assert run([*command, "--config", "run=x"]).stdout.lower() == "true\n"


def test_what_was_printed_is_read_from_any_folder(tmp_path, monkeypatch):
    """The toolkit works in a folder of its own, and a log is named from where the step began."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "log").write_text("before\n")
    monkeypatch.setattr(console, "_log", Path("log"))
    with console.captured() as printed:
        monkeypatch.chdir("elsewhere")
        (tmp_path / "log").write_text("before\nsince\n")
        assert printed() == "since\n"


@pytest.mark.parametrize(("reader", "code", "said"), [("head -1", 141, ""), ("cat", 0, "")])
def test_a_reader_that_has_enough_is_no_error(reader, code, said, python_env):
    lines = "from lib.step.errors import run_step; import sys; sys.exit(run_step(lambda: print('line\\n' * 100_000)))"
    command = f'python -c "{lines}" | {reader} >/dev/null; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], cwd=ROOT / "scripts", env=python_env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, said)

"""What a user sees of a run: few lines, the sentence or the result last; the rest is in Snakemake's log."""

import pytest
from conftest import SNAKEMAKE_7
from test_workflow import jobs, run_snakemake


@pytest.mark.toolkit
def test_a_run_that_succeeds_takes_few_lines_and_ends_with_its_results(cut_run):
    lines = (cut_run.parent.parent / "terminal.txt").read_text().splitlines()
    assert len(lines) <= 20 or SNAKEMAKE_7, lines
    assert lines[-3].startswith("best       parts4 96 split, normal on 4 images: mAP50-95 0.1554 in INT8")
    assert lines[-2:] == [
        "report     results/cut/report.html",
        f"next       snakemake -s '{lines[-1].split(chr(39))[1]}' -j4 bundle --configfile cut.yaml",
    ]
    # Of the run itself; other tests look at its folder by runs of their own.
    log = min((cut_run.parent.parent / ".snakemake" / "log").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    assert "Quantize parts4 96 split on 4 images" in log.read_text() and "Finished job" in log.read_text()


def test_a_run_that_fails_ends_with_its_sentence(project, python_env):
    (project / "bad.pt").write_text("no checkpoint")
    run = ["-j1", "--configfile", "config/demo.yaml", "--until", "download_weights"]
    wrong = ["--config", "models={parts4: {weights: [bad.pt], sha256: " + "0" * 64 + "}}"]
    done = run_snakemake(project, python_env, *run, *wrong)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[-3].startswith("Download the weights of parts4: failed (log: results/demo/logs/download_weights/")
    assert lines[-2] == "error: parts4.pt could not be fetched from any source:"
    assert lines[-1].startswith("  bad.pt: its sha256 is ") and "set sha256: " in lines[-1]
    assert (len(lines) <= 15 or SNAKEMAKE_7) and "Traceback" not in done.stdout and "Error in rule" not in done.stdout
    chatty = run_snakemake(project, python_env, *run, "-p", *wrong).stdout
    assert "Error in rule download_weights" in chatty and "python scripts/download_weights.py" in chatty


def test_a_target_behind_an_option_is_told_with_the_right_order(project, python_env):
    done = run_snakemake(project, python_env, "--configfile", "config/demo.yaml", "bundle", "-j2")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith(
        "name the target first: snakemake bundle --configfile config/demo.yaml -j2"
    )
    assert "Traceback" not in done.stdout


@pytest.mark.toolkit
def test_variants_that_were_built_before_stay_in_the_table_where_that_is_asked_for(cut_run, elsewhere, dry_run):
    work = cut_run.parent.parent
    run = ["-s", elsewhere / "Snakefile", "--configfile", "cut.yaml", "--config", "sweep={max_images: [2]}"]
    assert "--also" not in dry_run(work, *run, "-p").stdout
    everything = dry_run(work, *run, "collect=all", "-p").stdout
    assert jobs(everything)["quantize"] == 1
    collect = next(line for line in everything.splitlines() if "collect.py" in line)
    assert "--max-images 2 --also parts4/96/split/normal-4" in collect

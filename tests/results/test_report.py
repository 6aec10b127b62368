"""The right variant is recommended, and the page is whole and works in a real browser without a network."""

import base64
import hashlib
import html
import itertools
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from chromium import BROKEN_IMAGES, find_axe
from conftest import ROOT, image

import make_report
from lib import tasks
from lib.accuracy.metrics import ClassMetrics, ComparedMetrics, Metrics
from lib.accuracy.operating import THRESHOLDS, Curve, Operating, OperatingPoint
from lib.accuracy.resampled_map import ResampledMap, write_resampled
from lib.data.imgsz import ImageSize
from lib.detector.families import OutputMap
from lib.detector.families.dfl import Dfl
from lib.detector.head import SPLIT
from lib.detector.instances import Instances, concatenate
from lib.detector.output_spec import OutputSpec
from lib.npu.build import NPU, Build
from lib.results.board_results import (
    BoardAgreement,
    ImageDifference,
    OutputDifference,
    RanOnBoard,
    RefusedByBoard,
    Times,
)
from lib.results.choice import focus, indistinguishable_from, pareto_front, recommended
from lib.results.detection_errors import (
    DetectionErrors,
    Drawing,
    DrawnImage,
    Evaluated,
    ImageErrors,
    Tag,
    detection_errors,
)
from lib.results.plots import class_changes, map_over_imgsz, map_over_max_images, pareto, thresholds
from lib.results.report.contents import contents
from lib.results.report.gallery import cards, confusions
from lib.results.report.provenance import portable_config
from lib.results.report.render import render
from lib.results.sweep import Variant, variants
from lib.results.table import class_differences, from_csv, to_csv, to_markdown, variant_of
from lib.results.variant_results import VariantResults
from lib.step.errors import UserError, run_step

# Expressions for the browser.
UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"
HOSTILE = "<script>document.title='owned'</script>$_$"
CLASSES = {"bolt": 12, "nut & washer": 7, HOSTILE: 3}
CONFIG = {
    "run": "made",
    "platform": "rv1106",
    "models": {
        "tiny": {"weights": ["/home/someone/tiny.pt"], "sha256": "0" * 64},
        "unused": {"weights": ["unused.pt"], "sha256": "1" * 64},
    },
    "draw": {"images": 0, "seed": 0},
    "dataset": {"name": "made", "archive": ["images"], "names": list(CLASSES)},
    "split": {"calibration": 2, "seed": 0},
    "evaluation": {"images": "heldout", "resamples": 200, "seed": 0},
    "export": {"opset": 19},
    "sweep": {
        "model": ["tiny"],
        "imgsz": ["96", "416x256", "320"],
        "max_images": [8, 64],
        "head": ["single", "split"],
        "algorithm": ["normal"],
    },
    # Numbers, as YAML gives them; 640 is not in the sweep.
    "layers": {
        "model": ["tiny"],
        "imgsz": [96, 640],
        "max_images": [8],
        "head": ["split"],
        "algorithm": ["normal"],
    },
}


def frame(*rows) -> pd.DataFrame:
    """A table of (INT8 mAP50-95, NPU Mcycles, verdict) rows, all of one file size."""
    return pd.DataFrame(rows, columns=["map50_95_int8", "npu_mcycles", "verdict"]).assign(rknn_mb=1.0)


def test_recommended_is_the_most_accurate_that_runs_and_of_equals_the_cheapest():
    table = frame((0.5, 1.0, "fails"), (0.4, 1.0, "unsure"), (0.4, 3, "runs"), (0.4, 2.0, "runs"), (0.3, 1.0, "runs"))
    assert recommended(table) == focus(table) == 3


def test_nothing_is_recommended_where_nothing_runs():
    table = frame((0.3, 1.0, "unsure"), (0.5, 1.0, "fails"))
    assert recommended(table) is None
    assert focus(table) == 1
    assert pareto_front(table) == []


def test_pareto_front_is_what_no_running_row_beats():
    # Coarse values, so that equal ones are frequent.
    values = np.random.default_rng(0).integers(0, 6, (40, 12, 2))
    for number, rows in enumerate(values):
        table = frame(*((p / 10, c / 2, "runs" if i % 4 else "fails") for i, (p, c) in enumerate(rows)))
        running = table[table.verdict == "runs"]
        beaten = {
            i
            for (i, a), (_, b) in itertools.product(running.iterrows(), repeat=2)
            if b.map50_95_int8 >= a.map50_95_int8
            and b.npu_mcycles <= a.npu_mcycles
            and (b.map50_95_int8, b.npu_mcycles) != (a.map50_95_int8, a.npu_mcycles)
        }
        front = pareto_front(table)
        assert set(front) == set(running.index) - beaten, number
        assert list(table.npu_mcycles[front]) == sorted(table.npu_mcycles[front])


def test_rows_are_told_apart_where_their_difference_is_sure():
    rng = np.random.default_rng(0)
    table = frame((0.5, 3.0, "runs"), (0.5, 9.0, "fails"), (0.49, 2.0, "runs"), (0.45, 1.0, "runs"), (0.5, 3.5, "runs"))
    # The images move all rows alike by far more than the rows differ: only the differences tell.
    images = rng.normal(0, 0.1, 1000)
    resampled = {label: images + row.map50_95_int8 + rng.normal(0, 0.005, 1000) for label, row in table.iterrows()}
    assert indistinguishable_from(table, resampled, 0) == [2, 4]
    assert indistinguishable_from(table, resampled, 3) == []
    # Without any label in any resample there is no difference to see.
    assert indistinguishable_from(table, dict.fromkeys(table.index, np.full(1000, np.nan)), 0) == [3, 2, 4]


def test_names_stay_texts_in_the_table_for_people():
    row = {"model": "1e3", "imgsz": "320", "head": "split", "max_images": 8, "map50_95_int8": 0.5, "verdict": "runs"}
    cells = to_markdown(pd.DataFrame([row])).splitlines()[2].replace(" ", "")
    assert cells == "|1e3|320|split|8|0.5000|runs|"


def test_report_names_what_cannot_be_told_apart_and_the_cheapest_of_it(run, tmp_path):
    shown = contents(run, CONFIG)
    # 0.001 apart where the rows' own noise is 0.001: alike; 0.004 apart: told apart.
    assert shown.best.title.startswith("tiny 96 split, normal, 8")
    assert [row.title for row in shown.indistinguishable] == ["tiny 96 split, normal, 64 calibration images"]
    assert shown.cheapest.title == shown.best.title
    again = shutil.copytree(run, tmp_path / "run")
    table = from_csv(again / "table.csv", [])
    other = (table["head"] == "split") & (table.max_images == 64)
    table.loc[other, "npu_mcycles"] = 1.25

    def said():
        (again / "table.csv").write_text(to_csv(table))
        text = re.search(r'<p id="sure">(.*?)</p>', render(contents(again, CONFIG)), re.S)[1]
        return " ".join(re.sub("<.*?>", "", text).split())

    name = "tiny 96 split, normal, 64 calibration images"
    assert "It has the shortest estimated time of them." in said()
    assert f"In NPU cycles it is {name}: 1.25 M cycles, mAP50-95 0.5970." in said()
    table.loc[other, ["ms_low", "ms_high"]] = 5.0, 6.0
    assert f"cheapest of them is {name}, by estimated time (5.0 to 6.0 ms) and in NPU cycles (1.25 M)" in said()
    table.loc[other, "npu_mcycles"] = 99
    assert f"by estimated time is {name}: 5.0 to 6.0 ms, mAP50-95 0.5970. It takes the fewest NPU cycles." in said()
    write_resampled(again / "metrics/tiny/96/split/normal-64.npz", ResampledMap(["other.jpg"], 0, 0.5, np.ones(200)))
    with pytest.raises(UserError, match="different images or resamples"):
        contents(again, CONFIG)


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


OPERATING = Operating(
    "false_per_image=0.1",
    False,
    OperatingPoint(0.37, 0.8125, 0.75, 0.78, 0.27),
    0.25,
    0.5,
    {name: OperatingPoint(0.4, None, 0, 0, 0) for name in CLASSES},
)


def metrics(change: float) -> Metrics:
    """What evaluate.py writes of an FP32 model, with each class's AP lowered by up to `change`."""
    per_class = {
        name: ClassMetrics(0.6 - change * number, 0.8 - change * number, boxes)
        for number, (name, boxes) in enumerate(CLASSES.items())
    }
    return Metrics(22, 0.6 - change, 0.8 - change, 0.55 - change, 0.65 - change, per_class)


def compared(change: float) -> ComparedMetrics:
    """The same of an INT8 model."""
    measured = vars(metrics(change)) | {"operating": OPERATING}
    return ComparedMetrics(**measured, retention=1.0, retention_low=0.9, retention_high=1.1)


def onnx_file(**metadata) -> bytes:
    """A model that does nothing, with metadata."""
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    onnx.helper.set_model_props(model, metadata)
    return model.SerializeToString(deterministic=True)


def judged(head: str, imgsz: str) -> dict:
    """A verdict: of the single head the largest size fails, and the smallest is unsure."""
    if head == "single" and imgsz != "320":
        result = "fails" if imgsz == "416x256" else "unsure"
        return {"result": result, "reason": f"{HOSTILE} on the CPU", "advice": "take split", "basis": "reported",
                "source": "a thread"}  # fmt: skip
    return {"result": "runs", "reason": "all on the NPU", "advice": "try it", "basis": "inferred", "source": "none"}


def wrong(name: str, errors: int) -> Evaluated:
    """An image of 900 x 700 pixels: a bolt that is found, `errors` that are not; INT8 takes one for another class."""
    boxes = np.array([[n * 100, 0, n * 100 + 60, 90] for n in range(errors + 1)], float)
    labels = Instances(boxes, np.ones(errors + 1), np.zeros(errors + 1, int))
    fp32 = Instances(boxes[:1], np.array([0.9]), np.array([0]))
    int8 = concatenate([fp32, Instances(boxes[1:2], np.full(min(errors, 1), 0.5), np.full(min(errors, 1), 2))])
    return Evaluated(name, (900, 700), labels, int8, fp32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a made-up run of 12 variants with its plots; figures are by formula, no model is behind them."""
    run = tmp_path_factory.mktemp("runs") / "made up"
    rows = []
    sweep = CONFIG["sweep"]
    # What the choice of images does to all variants alike.
    images = np.random.default_rng(99).normal(0, 0.05, 200)
    for number, variant in enumerate(variants(**sweep)):
        # At 96 pixels 9.5 Mcycles, at 320 10.5: as text, the order is another one.
        change = 0.001 * number + (0.1 if variant.head == "single" else 0)
        cycles = {"96": 9.5, "320": 10.5, "416x256": 100.25}[variant.imgsz]
        verdict = judged(variant.head, variant.imgsz)
        write(run / "metrics" / variant.model / variant.imgsz / "exported.json", metrics(0).to_json())
        write((run / "metrics" / variant.path()).with_suffix(".json"), compared(change).to_json())
        costs = {
            "ms_low": 25.0,
            "ms_high": 40.5,
            "clock_mhz": 420,
            "uncounted_operators": 5,
            "memory_mb": 3.5,
            "cma_mb": 66,
        }
        build = run / "rknn" / variant.path()
        Build("2.3.2", "rv1106", 1, cycles, (), 1.0, 1.0, ()).write(build / "build.json")
        write(build / "verdict.json", {"costs": costs, "verdict": verdict})
        resampled = images + 0.6 - change + np.random.default_rng(number).normal(0, 0.001, 200)
        curve = Curve(THRESHOLDS, 1 - THRESHOLDS)
        measured = ResampledMap([f"{n}.jpg" for n in range(22)], 0, 0.6 - change, resampled, curve)
        write_resampled((run / "metrics" / variant.path()).with_suffix(".npz"), measured)
        write_resampled(run / "metrics" / variant.model / variant.imgsz / "exported.npz", measured)
        write(build / "model.rknn", bytes([number]))
        for graph in ("exported", variant.head):
            write(run / "onnx" / variant.model / variant.imgsz / f"{graph}.onnx", onnx_file(graph=graph))
        rows.append(
            {
                **variant._asdict(),
                "map50_95_fp32": 0.6,
                "map50_95_int8": round(0.6 - change, 4),
                # Missing where a model finds nothing in FP32.
                "retention": float("nan") if number == 4 else round((0.6 - change) / 0.6, 4),
                "rknn_mb": 3.79,
                "npu_mcycles": cycles,
                "cpu_ops": 2 if verdict["result"] == "fails" else 0,
                "verdict": verdict["result"],
                "retention_low": float("nan") if number == 4 else round((0.58 - change) / 0.6, 4),
                "retention_high": float("nan") if number == 4 else round((0.61 - change) / 0.6, 4),
                "ms_low": 25.0,
                "ms_high": 40.5,
            }
        )
    table = pd.DataFrame(rows)
    write(run / "table.csv", to_csv(table))
    plots = run / "plots"
    map_over_imgsz(table, plots / "map_over_imgsz.png")
    map_over_max_images(table, plots / "map_over_max_images.png")
    pareto(table, plots / "pareto.png")
    shown = variant_of(table.loc[focus(table)])
    results = VariantResults(run, shown)
    class_changes(class_differences(results), shown.title(), plots / "class_changes.png")
    thresholds(*results.curves, results.int8.operating, shown.title(), plots / "thresholds.png")
    images = {"b c.jpg": wrong("b c.jpg", 0), "a.jpg": wrong("a.jpg", 2), "é.jpg": wrong("é.jpg", 4)}
    task = tasks.get("detect")
    detection_errors(shown, 0.37, list(CLASSES), list(images.values()), task).write(run / "errors.json")
    write(run / "weights" / "tiny" / "tiny.pt", b"weights")
    write(run / "dataset" / "split.csv", "image,part\n")
    for seed, name in enumerate(images):
        encoded = cv2.imencode(".jpg", image(seed, 900, 700))[1].tobytes()
        write(run / "dataset" / "images" / name, encoded)
        write((run / "dataset" / "labels" / name).with_suffix(".txt"), "")
    write(run / "dataset" / "images" / ".snakemake_timestamp", "")
    layers = pd.DataFrame(
        {
            "layer": [f"layer {n}" for n in range(20)],
            "type": "Conv",
            "entire_cos": 0.99,
            "entire_euc": 1.5,
            "single_cos": [1 - n / 1000 for n in range(20)],
            # The toolkit gives none for a layer whose output is 0 everywhere.
            "single_euc": [*[0.5] * 19, np.nan],
        }
    )
    path = run / "layers" / "tiny" / "96" / "split" / "normal-8.csv"
    path.parent.mkdir(parents=True)
    layers.to_csv(path, index=False)
    cv2.imwrite(str(path.with_suffix(".png")), image(1, 1000, 400))
    return run


@pytest.fixture(scope="module")
def make(run, tmp_path_factory):
    """Run the step on the made-up run; returns the page's path."""
    config = tmp_path_factory.mktemp("config") / "made.yaml"
    config.write_text(yaml.safe_dump(CONFIG))

    def make(name: str, given=config):
        path = tmp_path_factory.mktemp("page") / name
        assert make_report.main(["--run", str(run), "--config", str(given), "--output", str(path)]) is None
        return path

    return make


@pytest.fixture(scope="module")
def report(make):
    return make("report.html")


def test_same_inputs_same_bytes_from_a_config_file_or_its_text(make, report):
    assert make("again.html", json.dumps(CONFIG, sort_keys=True)).read_bytes() == report.read_bytes()


def test_page_names_no_folder_of_this_machine_no_time_and_no_address(report, run):
    text = report.read_text()
    assert str(run.parent) not in text and "/home/" not in text
    assert not re.search(r"\b20\d\d-\d\d|\d\d:\d\d:\d\d", text)
    assert "://" not in text
    assert report.stat().st_size < 3_000_000


def test_threshold_is_suggested_for_all_classes_and_for_each(report):
    section = re.search(r'<section id="threshold">.*?</section>', report.read_text(), re.S)[0]
    assert "<strong>0.37</strong> is suggested for false_per_image=0.1, which no threshold meets" in section
    assert "between 0.25 and 0.50" in section
    rows = re.findall(r'<th scope="row">([^<]*)</th>', section)
    assert list(map(html.unescape, rows)) == ["all", *CLASSES]
    assert "0.812" in section and "–" in section


def test_texts_are_escaped(report):
    text = report.read_text()
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text and "nut &amp; washer" in text


def test_config_in_the_page_gives_the_run_again(report):
    text = html.unescape(re.search(r'<pre[^>]*id="config"><code>(.*?)</code>', report.read_text(), re.S)[1])
    expected = CONFIG | {"models": {"tiny": CONFIG["models"]["tiny"] | {"weights": ["tiny.pt"]}}}
    assert yaml.safe_load(text) == expected
    link = re.search(r'href="data:text/yaml;base64,([^"]*)"', report.read_text())[1]
    assert base64.b64decode(link).decode() == text == portable_config(CONFIG)


def test_how_a_board_is_reached_stays_at_home():
    board = {
        "host": "root@10.0.0.7",
        "options": "-i /home/me/key",
        "folder": "/tmp",
        "sdk": "/home/me/sdk",
        "repeat": 9,
    }
    shown = yaml.safe_load(portable_config(CONFIG | {"board": board}))["board"]
    assert (shown["host"], shown["options"], shown["sdk"]) == ("", "", "")
    assert (shown["folder"], shown["repeat"]) == ("/tmp", 9)


def test_what_a_board_measured_is_on_the_first_screen(run, make):
    ran = {"map50_95_board": 0.4321, "ms_board": 21.3, "board": "ran", "verdict_was": "right"}
    with table_changed(run, lambda table: table.assign(**ran)):
        summary = make("measured.html").read_text().split("</section>")[0]
    assert '21.3 <span class="unit">ms</span> <small>mAP50-95 0.4321' in summary
    with table_changed(run, lambda table: table.assign(**ran | {"map50_95_board": np.nan, "ms_board": np.nan})):
        assert 'id="measured"' not in make("another.html").read_text()


def test_what_ran_the_models_in_place_of_the_simulator_is_said(run, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    for path in again.glob("rknn/**/build.json"):
        replace(Build.read(path), simulator=NPU).write(path)
    page = html.unescape(render(contents(again, CONFIG)))
    assert "INT8 models on a model of the chip's rounding. <strong>Nothing here ran on a board.</strong>" in page
    assert "from a published description and not compared with a board; its first images were compared with" in page


def test_what_a_board_told_stands_beside_the_simulator(run, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    ran, refused, older = (
        again / "board" / f"tiny/320/{each}" for each in ("split/normal-8", "single/normal-8", "split/normal-64")
    )
    times = Times(20.0, 21.25, 30.0, 22)
    worst = ImageDifference(HOSTILE, 2, 0.91, 0.04)
    outputs = (OutputDifference("box_8", 0.125, 3), OutputDifference("scores_8", 0.0, 0))
    told = partial(
        RanOnBoard, "ran", "runs", "right", "2.3.2", "0.9.2", 35.0, times, times, None,
        BoardAgreement(0.25, 40, 0.75, 0.91, 0.04, (worst,)), outputs, "box_8", compared(0.6 - 0.4321), "a line,420",
    )  # fmt: skip
    words = partial(RefusedByBoard, "refused", f"unsupport cpu {HOSTILE} op", "runs", "wrong")
    for folder, results in ((ran, told), (refused, words), (older, told)):
        model = again / "rknn" / folder.relative_to(again / "board") / "model.rknn"
        write(folder / "board.json", results(hashlib.sha256(model.read_bytes()).hexdigest(), "2.3.2").to_json())
    # Built anew since then.
    write(again / "rknn" / "tiny/320/split/normal-64" / "model.rknn", b"\xff")
    page = render(contents(again, CONFIG))
    section = html.unescape(page.split('<section id="board">')[1].split("</section>")[0])
    for said in ("0.4321", "75.0 % of 40", "21.2 (20.0 to 30.0)", "box_8</code> 12.50 % of its bytes, by at most 3",
                 "a line,420", f"refused: unsupport cpu {HOSTILE} op", "was wrong"):  # fmt: skip
        assert said in section, said
    assert section.count('<th scope="row">') == 2
    assert HOSTILE not in page


def test_a_task_says_what_its_map_is_of_and_how_its_maps_fare(run, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    outputs = OutputSpec(ImageSize(96, 96), SPLIT, Dfl((8,)), 4, "obb", extras=(OutputMap("turn", 8, 1),))
    write(again / "onnx" / "tiny" / "96" / "split.onnx", onnx_file(**outputs.to_metadata()))
    for path in again.glob("metrics/**/*.json"):
        write(path, json.loads(path.read_text()) | {"task": "obb", "box_map50_95": 0.65})
    task = {"task": "obb", "box_map50_95_fp32": 0.65, "box_map50_95_int8": 0.6432}
    path = again / "layers" / "tiny" / "96" / "split" / "normal-8.csv"
    with path.open("a") as file:
        file.writelines(f"{name},Sigmoid,0.98,2,0.97,1\n" for name in ("box_8", "scores_8", "turn_8_int8", "turn_8"))
    with table_changed(again, lambda table: table.assign(**task)):
        page = render(contents(again, CONFIG))
        map_over_imgsz(from_csv(again / "table.csv", []), tmp_path / "plot.png")
    assert '<span class="unit">mAP50-95</span> <small>of rotated boxes</small>' in page
    assert "Task: obb in all rows" in page and "detects for it, at an IoU of rotated boxes of 0.5" in page
    assert 'Boxes alone, INT8</dt><dd>0.6432 <span class="unit">mAP50-95</span> <small>FP32 baseline 0.6500' in page
    layers = page.split('<section id="layers">')[1].split("</section>")[0]
    shown = layers.split("<p>Its outputs")[1]
    assert re.findall('<th scope="row">([^<]*)', shown) == ["box_8", "scores_8", "turn_8"]
    assert cv2.imread(str(tmp_path / "plot.png")) is not None
    assert "Its outputs" not in render(contents(run, CONFIG)) and "of rotated boxes" not in render(
        contents(run, CONFIG)
    )


def test_checksums_are_those_that_sha256sum_gives(report, run):
    text = html.unescape(report.read_text())
    command = re.search(r"find images labels .*sha256sum", text)[0]
    done = subprocess.run(command, shell=True, cwd=run / "dataset", capture_output=True, text=True, check=True)
    assert f'6 files (images and labels): <code class="hash">{done.stdout.split()[0]}' in text
    for name in ("weights/tiny/tiny.pt", "onnx/tiny/320/split.onnx", "rknn/tiny/96/single/normal-8/model.rknn"):
        done = subprocess.run(["sha256sum", name], cwd=run, capture_output=True, text=True, check=True)
        assert re.search(rf">{name}<.*{done.stdout.split()[0]}", text)


@contextmanager
def table_changed(run, change):
    """The made-up run with `change` done to its table, for a while."""
    path = run / "table.csv"
    before = path.read_bytes()
    path.write_text(to_csv(change(from_csv(path, []))))
    try:
        yield
    finally:
        path.write_bytes(before)


def test_a_more_accurate_variant_that_fails_is_told(run, make):
    better = "is more accurate (0.7000), but its verdict is"
    with table_changed(run, lambda table: table.assign(map50_95_int8=table.map50_95_int8.mask(table.cpu_ops > 0, 0.7))):
        assert better in make("better.html").read_text()
    assert better not in make("plain.html").read_text()


def test_a_variant_that_runs_alone_is_compared_with_none(run, make):
    with table_changed(run, lambda table: table.assign(verdict=["runs"] + ["fails"] * (len(table) - 1))):
        text = make("alone.html").read_text()
    assert "No other variant has the verdict" in text and "tell it apart" not in text


def test_nothing_to_recommend_is_told(run, make):
    with table_changed(run, lambda table: table.assign(verdict="unsure")):
        text = make("none.html").read_text()
    assert "No variant to flash" in text and "Flash this file" not in text
    assert "★</span>" not in text


@pytest.fixture
def refused(tmp_path, capsys):
    """The one sentence with which the step refuses its input, leaving no page."""

    def refused(run, config: str) -> str:
        page = tmp_path / "report.html"
        arguments = ["--run", str(run), "--config", config, "--output", str(page)]
        assert run_step(lambda: make_report.main(arguments)) == 2
        assert not page.exists()
        (sentence,) = capsys.readouterr().err.splitlines()
        return sentence

    return refused


@pytest.mark.parametrize("missing", ["table.csv", "plots/pareto.png", "weights/tiny", "dataset/labels"])
def test_missing_input_is_one_sentence_and_no_page(refused, run, tmp_path, missing):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / missing).rename(tmp_path / "aside")
    assert missing in refused(tmp_path / "run", json.dumps(CONFIG))


@pytest.mark.parametrize("config", ["no/such.yaml", "{broken", '{"run": "x"}'])
def test_broken_config_is_one_sentence_and_no_page(refused, run, config):
    assert config in refused(run, config)


def test_browser_tells_what_is_wrong_with_a_page(browser, tmp_path):
    """The checks below can fail."""
    (tmp_path / "page.html").write_text(
        "<img src='data:image/png;base64,AA=='><img src='http://127.0.0.1:9/x.png'>"
        "<div style='width: 2000px'>wide</div><script>console.error('planted'); undefined_name()</script>"
    )
    browser.open(tmp_path / "page.html", width=390)
    found = browser.faults()
    assert any("planted" in each for each in found) and any("undefined_name" in each for each in found)
    assert browser.addresses() == ["http://127.0.0.1:9/x.png"]
    assert browser.run(BROKEN_IMAGES) == 2
    assert browser.run("document.documentElement.scrollWidth") > 390
    assert len(browser.run(wider_than(390))) == 1


SCREENS = pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
DARK = pytest.mark.parametrize("dark", [False, True])


def wider_than(width: int) -> str:
    """An expression for the elements that reach beyond `width`, other than in a box that scrolls."""
    return (
        "[...document.body.querySelectorAll('*')].filter(each => !each.parentElement.closest('.scroll')"
        f"&& each.getBoundingClientRect().right > {width} + 0.5).map(each => each.outerHTML.slice(0, 99))"
    )


@SCREENS
@DARK
def test_page_is_whole_without_a_network(browser, report, width, height, dark):
    browser.open(report, width, height, dark)
    assert browser.faults() == []
    assert browser.addresses() == []
    assert browser.run("document.images.length") == 8
    assert browser.run(BROKEN_IMAGES) == 0
    browser.run(UNFOLD)
    assert browser.run("document.documentElement.scrollWidth") <= width
    # Only tables may be wider than a phone: they scroll in their box.
    assert browser.run(wider_than(width)) == []
    assert browser.run("[...document.querySelectorAll('.scroll > *')].every(each => each.tagName === 'TABLE')")
    assert browser.run("document.title") == "made on rv1106: INT8 report"
    brightness = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (brightness < 100) == dark


@SCREENS
@pytest.mark.parametrize("scripts", [True, False])
def test_first_screen_says_which_file_how_good_how_sure_how_fast(browser, report, width, height, scripts):
    browser.open(report, width, height, scripts=scripts)
    expected = {
        "file": "results/made/rknn/tiny/96/split/normal-8/model.rknn",
        "int8": "INT8 model 0.5980 mAP50-95 95 % interval 0.5480 to 0.6480",
        "fp32": "FP32 baseline 0.6000 mAP50-95 95 % interval 0.5500 to 0.6500",
        "retention": "Retention, INT8 / FP32 0.9967 95 % interval 0.9633 to 1.0133",
        "time": "Estimated time 25.0 to 40.5 ms at 420 MHz",
        "memory": "Memory 3.5 MB of 66 MB (CMA)",
        "verdict": "Will the board run it? runs inferred: none",
        "sure": "22 held-out images cannot tell it apart from 1 other variant that runs. "
        "It has the shortest estimated time and the fewest NPU cycles of them.",
        "alike": "tiny 96 split, normal, 64 calibration images: 0.5970, 25.0 to 40.5 ms, 9.50 M cycles",
    }
    for name, text in expected.items():
        shown = browser.run(f"document.getElementById('{name}').innerText")
        assert " ".join(shown.split()) == text
        box = browser.run(f"document.getElementById('{name}').getBoundingClientRect().toJSON()")
        assert box["top"] >= 0 and box["height"] > 0 and box["bottom"] <= height, name
    assert browser.run("document.getElementById('copy').checkVisibility()") == scripts
    assert browser.run("document.getElementById('no-nms')") is None


def test_the_path_is_copied_by_its_button_and_selected_by_a_click(browser, report):
    path = "results/made/rknn/tiny/96/split/normal-8/model.rknn"
    browser.open(report)
    browser.click("#copy")
    told = "new Promise(done => setTimeout(() => done(document.getElementById('copied').textContent), 200))"
    assert browser.run(told) in ("Copied", "Selected: press Ctrl+C")
    assert browser.run("getSelection().toString()") == path
    browser.open(report, scripts=False)
    browser.click("#file")
    assert browser.run("getSelection().toString()") == path


def test_an_end_to_end_model_needs_no_nms(run, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    assert "no NMS" not in render(contents(again, CONFIG))
    spec = OutputSpec(ImageSize(96, 96), SPLIT, Dfl(), 4, end2end=True)
    write(again / "onnx/tiny/96/split.onnx", onnx_file(**spec.to_metadata()))
    assert "End-to-end model: no NMS is needed." in render(contents(again, CONFIG))


@SCREENS
def test_what_is_pressed_is_large_enough_for_a_finger(browser, report, width, height):
    browser.open(report, width, height)
    browser.run(UNFOLD)
    small = browser.run(
        "[...document.querySelectorAll('a, button, summary')].filter(each => each.checkVisibility())"
        ".filter(each => !(each.tagName === 'A' && each.closest('p')))"
        ".map(each => [each.textContent, each.getBoundingClientRect()])"
        ".filter(([, box]) => box.width < 24 || box.height < 24).map(([text]) => text)"
    )
    assert small == []


@SCREENS
@DARK
def test_keyboard_reaches_everything_in_order_and_shows_where_it_is(browser, report, width, height, dark):
    browser.open(report, width, height, dark)
    expected = browser.run(
        "(window.stops = [...document.querySelectorAll('a[href], button, input, summary, [tabindex]')]"
        ".filter(each => each.checkVisibility())).length"
    )
    assert expected > 30
    for number in range(expected):
        browser.press("Tab")
        reached, style, wide, inside = browser.run(
            "(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();"
            "return [stops.indexOf(e), s.outlineStyle, parseFloat(s.outlineWidth), r.top < innerHeight && r.bottom > 0]"
            "})()"
        )
        assert (reached, style, wide >= 2, inside) == (number, "solid", True, True)


@pytest.fixture(scope="session")
def axe():
    script = find_axe()
    if not script:
        pytest.skip("needs axe-core (npm install --prefix . --no-save axe-core@4.14.1, or $RV1106_AXE)")
    return script


@SCREENS
@DARK
def test_axe_finds_no_violation(browser, report, axe, width, height, dark):
    browser.open(report, width, height, dark)
    browser.run(UNFOLD)
    browser.click(heading(browser, "Head"))
    assert browser.violations(axe) == []
    # The checker can find one.
    browser.run("document.querySelector('#int8 dd').style.color = 'gray'; document.images[0].alt = '';")
    browser.run("document.images[0].removeAttribute('alt')")
    assert [each.split(":")[0] for each in browser.violations(axe)] == ["color-contrast", "image-alt"]


def test_paper_is_black_on_white_and_cuts_no_table(browser, report):
    # A4 landscape within its margins, at 96 pixels an inch.
    browser.open(report, 1032, 703, dark=True, media="print")
    assert browser.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.run(UNFOLD)
    assert browser.run(wider_than(1032)) == []
    assert not browser.run("document.querySelector('nav').checkVisibility()")
    assert not browser.run("document.getElementById('copy').checkVisibility()")


def test_page_and_captions_use_the_words_of_the_field(report):
    page = re.sub(r'<pre id="config">.*?</pre>', "", report.read_text(), flags=re.S)
    texts = [page, *(each.read_text() for each in sorted((ROOT / "report").glob("*.rst")))]
    assert len(texts) > 5
    for text in texts:
        assert not re.findall(r"\b(pictures?|guess\w*|bring\w*|as exported)\b", text, flags=re.I)


def column(browser, name: str) -> list[str]:
    """The texts of the table's column `name`, as a reader sees them from the top."""
    return browser.run(
        "(() => { const table = document.querySelector('#table');"
        f"const heading = [...table.tHead.rows[0].cells].find(cell => cell.textContent.trim() === {json.dumps(name)});"
        "return [...table.tBodies[0].rows].map(row => row.cells[heading.cellIndex].innerText.trim()); })()"
    )


def heading(browser, name: str) -> str:
    """A selector of the button in the heading of the table's column `name`."""
    cells = "[...document.querySelector('#table').tHead.rows[0].cells]"
    number = browser.run(f"{cells}.findIndex(cell => cell.textContent.trim() === {json.dumps(name)})")
    return f"#table th:nth-child({number + 1}) button"


def sorted_by(browser) -> list[list[str]]:
    """The headings with an aria-sort, and its value."""
    return browser.run(
        "[...document.querySelectorAll('#table th[aria-sort]')].map(th => [th.textContent.trim(), th.ariaSort])"
    )


def test_best_variant_is_on_top_until_something_is_sorted(browser, report):
    browser.open(report)
    assert sorted_by(browser) == []
    precision = [float(text) for text in column(browser, "mAP50-95 INT8")]
    assert precision == sorted(precision, reverse=True)


def test_numbers_sort_as_numbers_and_back(browser, report):
    browser.open(report)
    expected = ["9.5000"] * 4 + ["10.5000"] * 4 + ["100.2500"] * 4
    browser.click(heading(browser, "NPU Mcycles"))
    assert [float(each) for each in column(browser, "NPU Mcycles")] == [float(each) for each in expected]
    assert sorted_by(browser) == [["NPU Mcycles", "ascending"]]
    browser.click(heading(browser, "NPU Mcycles"))
    assert [float(each) for each in column(browser, "NPU Mcycles")] == [float(each) for each in expected[::-1]]
    assert sorted_by(browser) == [["NPU Mcycles", "descending"]]


def test_sizes_sort_by_area_texts_by_letter_and_missing_values_come_last(browser, report):
    browser.open(report)
    browser.click(heading(browser, "Image size"))
    assert column(browser, "Image size") == ["96"] * 4 + ["320"] * 4 + ["416x256"] * 4
    browser.click(heading(browser, "Head"))
    assert column(browser, "Head") == ["single"] * 6 + ["split"] * 6
    # Stable: what was sorted before stays in order among equals.
    assert column(browser, "Image size")[:6] == ["96"] * 2 + ["320"] * 2 + ["416x256"] * 2
    for _ in ("ascending", "descending"):
        browser.click(heading(browser, "Retention"))
        assert column(browser, "Retention")[-1] == "–"
        assert column(browser, "Retention").count("–") == 1


@pytest.mark.parametrize("key", ["Enter", " "])
def test_sorting_by_keyboard(browser, report, key):
    browser.open(report)
    selector = heading(browser, "Head")
    # The button before it, then one step with Tab.
    browser.run(f"document.querySelector({json.dumps(selector.replace('nth-child(3)', 'nth-child(2)'))}).focus()")
    browser.press("Tab")
    assert browser.run(f"document.activeElement === document.querySelector({json.dumps(selector)})")
    browser.press(key)
    assert sorted_by(browser) == [["Head", "ascending"]]


def test_worst_layers_come_first(browser, report):
    browser.open(report)
    names = browser.run("[...document.querySelectorAll('#layers tbody th')].map(cell => cell.innerText)")
    assert names == [f"layer {number}" for number in range(19, 9, -1)]
    distances = browser.run(
        "[...document.querySelectorAll('#layers tbody td:nth-child(5)')].map(cell => cell.innerText)"
    )
    assert distances == ["–"] + ["0.5"] * 9


def test_paper_gets_what_is_folded_on_the_screen(browser, report):
    browser.open(report)
    assert browser.run("document.querySelectorAll('details:not([open])').length") > 0
    browser.send("Page.printToPDF")
    assert browser.run("document.querySelectorAll('details:not([open])').length") == 0


def section(report, name: str) -> str:
    """The HTML of a section of the page."""
    return re.search(rf'<section id="{name}">.*?</section>', report.read_text(), re.S)[0]


def test_images_stand_by_their_errors_with_what_is_wrong_in_them(report):
    detections = section(report, "detections")
    said = " ".join(re.sub("<.*?>", "", detections).split())
    assert "above a confidence of 0.37" in said
    assert "with 9 objects: 2 false detections and 6 missed objects" in said
    assert "The FP32 baseline, above the same confidence: 0 and 6." in said and "at an IoU of 0.5 or more" in said
    cards = re.findall(r'<figure class="card" id="(.*?)">.*?alt="(.*?)"', detections, re.S)
    assert cards == [("image-1", "é.jpg: 1 false, 4 missed"), ("image-2", "a.jpg: 1 false, 2 missed")]
    # One box each in INT8: of what is right, what is false, and four that are missed.
    lines = dict(re.findall(r'<path class="(?!edge)(\w+)" d="(.*?)"', detections.split('<svg class="fp32"')[0]))
    assert {kind: path.count("M") for kind, path in lines.items()} == {"truth": 1, "right": 1, "missed": 4, "false": 1}
    assert lines["false"] == "M100 0L160 0L160 90L100 90Z"
    rows = re.findall(r'<a href="(.*?)">(.*?)</a></th>((?:<td class="number">\d+</td>)+)', detections)
    assert [(link, name, re.findall(r"\d+(?=<)", cells)) for link, name, cells in rows] == [
        ("#image-1", "é.jpg", ["5", "1", "4", "5", "0", "4", "1"]),
        ("#image-2", "a.jpg", ["3", "1", "2", "3", "0", "2", "1"]),
        ("dataset/images/b%20c.jpg", "b c.jpg", ["0", "0", "0", "1", "0", "0", "0"]),
    ]


def test_objects_that_are_taken_for_another_class_stand_in_the_matrix(browser, report):
    browser.open(report)
    cells = browser.run(
        "[...document.querySelectorAll('#confusion tbody tr')]"
        ".map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText))"
    )
    assert cells == [["3", "", "2", "4"], [""] * 4, [""] * 4, [""] * 4]


def test_titles_in_small_images_stay_within_them(tmp_path):
    """The height of a text is known in its own unit alone, and the image's on the page is not known."""
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((100, 200, 3), np.uint8))
    tags = (Tag("false", "bolt 0.50", 140, 0), Tag("missed", "nut", 20, 50), Tag("false", "nut 0.50", 180, 50))
    drawn = DrawnImage("a.jpg", 200, 100, Drawing({}, tags), Drawing({}, ()))
    variant, of_image = Variant("m", "96", "split", "normal", 8), ImageErrors("a.jpg", 1, 2, 1, 0, 0, 0)
    [card] = cards(DetectionErrors(variant, 0.5, ("nut", "bolt"), (of_image,), (), (drawn,)), tmp_path)
    assert [tag.place for tag in card.overlays["int8"].tags] == [
        "left:max(0px,min(70.0%,calc(100% - 9ch)));bottom:min(100.0%,calc(100% - 1.4em))",
        "left:max(0px,min(10.0%,calc(100% - 3ch)));bottom:min(50.0%,calc(100% - 1.4em))",
        "right:10.0%;bottom:min(50.0%,calc(100% - 1.4em))",
    ]
    assert "line-height: 1.4;" in (ROOT / "scripts" / "lib" / "results" / "report" / "page.css").read_text()


def test_of_many_classes_those_with_most_errors_stand_in_the_matrix():
    counts = np.diag([100] * 80 + [0])
    counts[[3, 5, 80], [5, 80, 7]] = 9, 4, 2
    errors = DetectionErrors(
        Variant("m", "96", "split", "normal", 8), 0.5, tuple(f"class {n}" for n in range(80)), (), counts.tolist()
    )
    shown = confusions(errors)
    assert len(shown.names) == 14 and shown.names[-2:] == ["68 other classes", "background"]
    place = {name: number for number, name in enumerate(shown.names)}
    assert shown.rows[place["class 3"]][place["class 5"]] == 9
    assert shown.rows[place["class 5"]][-1] == 4 and shown.rows[-1][place["class 7"]] == 2
    assert sum(map(sum, shown.rows)) == counts.sum()
    assert confusions(DetectionErrors(errors.variant, None)) is None


@SCREENS
def test_an_image_is_enlarged_with_the_other_model_and_its_neighbours(browser, report, width, height):
    browser.open(report, width, height)
    browser.click("#image-2 .enlarge")
    shown = "document.querySelector('#enlarged[open] figcaption').innerText"
    assert browser.run(shown).startswith("a.jpg") and "1 false, 2 missed" in browser.run(shown)
    inside = "document.querySelector('#enlarged').getBoundingClientRect().toJSON()"
    box = browser.run(inside)
    assert box["left"] >= 0 and box["right"] <= width and box["top"] >= 0 and box["bottom"] <= height
    browser.click("#other")
    assert "FP32: 0 false, 2 missed" in browser.run(shown) and "1 false" not in browser.run(shown)
    browser.click("#after")
    assert browser.run(shown).startswith("é.jpg")
    browser.click("#before")
    assert browser.run(shown).startswith("a.jpg")
    browser.click("#shut")
    assert not browser.run("document.getElementById('enlarged').open")
    # Back to where it was opened.
    assert browser.run("document.activeElement === document.querySelector('#image-2 .enlarge')")
    assert browser.faults() == [] and browser.addresses() == []


def test_the_other_model_is_shown_without_a_script_too(browser, report):
    browser.open(report, scripts=False)
    visible = "['int8', 'fp32'].map(name => document.querySelector(`#image-1 svg.${name}`).checkVisibility())"
    assert browser.run(visible) == [True, False]
    browser.click("#of-fp32")
    assert browser.run(visible) == [False, True]


def test_on_a_phone_verdict_and_time_are_seen_without_scrolling(browser, report):
    browser.open(report, 390, 844)
    edge = browser.run("document.querySelector('#variants .scroll').getBoundingClientRect().right")
    for name in ("Image size", "Head", "Verdict", "Time ms"):
        cells = f"document.querySelector({json.dumps(heading(browser, name))}).parentElement"
        assert 0 < browser.run(f"{cells}.getBoundingClientRect().right") <= edge, name


def test_on_a_screen_columns_are_whole_to_the_retention(browser, report):
    browser.open(report)
    edge = browser.run("document.querySelector('#variants .scroll').getBoundingClientRect().right")
    last = f"document.querySelector({json.dumps(heading(browser, 'Retention, interval'))}).parentElement"
    assert browser.run(f"{last}.getBoundingClientRect().right") <= edge


def test_the_file_to_flash_comes_with_its_code(report):
    summary = " ".join(re.sub("<.*?>", "", section(report, "summary")).split())
    assert "C code belongs to this file" in summary and "results/made/bundle/tiny/96/split/normal-8/" in summary
    assert "snakemake bundle --cores all --configfile made.yaml What" in summary


def test_the_code_of_the_recommended_variant_is_asked_for_where_the_config_asks_for_others(make):
    page = make("all.html", json.dumps(CONFIG | {"bundle": "all"})).read_text()
    assert "--configfile made.yaml --config bundle=best</code>" in page


def test_nothing_that_decodes_means_no_images(run, make):
    before = (run / "errors.json").read_bytes()
    DetectionErrors(DetectionErrors.read(run / "errors.json").variant, None).write(run / "errors.json")
    try:
        text = section(make("undecoded.html"), "detections")
    finally:
        (run / "errors.json").write_bytes(before)
    assert "there are no detections" in text and "<img" not in text and "<dialog" not in text

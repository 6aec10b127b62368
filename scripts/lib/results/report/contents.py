"""What the report shows, read from a run's folder and put in order; page.html.j2 only lays it out."""

import base64
from pathlib import Path

import cv2
import pandas as pd

from lib.accuracy.evaluation import read_measured, require_same_resamples
from lib.data.images import damage, read_image
from lib.data.weights_folder import model_files
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_file import load, metadata
from lib.npu.layer_errors import worst
from lib.npu.verdict import FAILS, RUNS, UNSURE
from lib.results import run_files
from lib.results.choice import best_first, focus, not_told_apart, pareto_front, recommended
from lib.results.report.provenance import checksums, commit, dataset_checksum, portable_config, versions
from lib.results.report.rows import columns, number_text, reasons, rows_of, shared
from lib.results.sweep import Variant, variants
from lib.results.table import class_differences, from_csv, read_board, read_metrics, variant_of
from lib.step.errors import UserError
from lib.step.files import read_json, require

WORST_LAYERS = 10
FIGURES = ("pareto", "map_over_imgsz", "map_over_max_images", "class_changes")
JPEG_QUALITY = 82  # photographs as PNG would make the page several times as large


def contents(run: Path, config: dict) -> dict:
    """Everything that page.html.j2 shows of the run in the folder `run`; no time, no absolute path.

    Raises UserError when a file is missing or damaged.
    """
    table = best_first(from_csv(run / "table.csv", variants(**config["sweep"])))
    chosen = [variant_of(row) for _, row in table.iterrows()]
    best, front, shown = recommended(table), pareto_front(table), focus(table)
    labelled = dict(zip(table.index, chosen))
    toolkits = {read_json(run_files.rknn(run, each, "build.json"))["toolkit"] for each in chosen}
    judged = {label: read_json(run_files.rknn(run, each, "verdict.json")) for label, each in labelled.items()}
    alike = []
    if best is not None:
        measured = {label: read_measured(run_files.resampled(run, each)) for label, each in labelled.items()}
        require_same_resamples(list(measured.values()))
        alike = not_told_apart(table, {label: each.resampled for label, each in measured.items()}, best)
    exported, _ = read_metrics(run, chosen[0])
    rows = dict(zip(table.index, rows_of(table, judged, best, front)))
    return {
        "run": config["run"],
        "platform": config["platform"],
        "dataset": config["dataset"]["name"],
        "images": exported["images"],
        "boxes": sum(each["boxes"] for each in exported["per_class"].values()),
        "resamples": config["evaluation"]["resamples"],
        "heldout": config["evaluation"]["images"] == "heldout",
        "columns": columns(table),
        "shared": shared(table),
        "rows": list(rows.values()),
        "reasons": reasons(rows.values()),
        "counts": {verdict: int((table.verdict == verdict).sum()) for verdict in (RUNS, FAILS, UNSURE)},
        "best": rows.get(best),
        "focus": rows[shown],
        "accuracy": _accuracy(run, labelled[shown]),
        "end2end": _is_end2end(run_files.onnx(run, labelled[shown], labelled[shown].head)),
        "alike": [rows[label] for label in alike],
        "cheapest": rows.get(table.npu_mcycles[[best, *alike]].idxmin()) if alike else None,
        "top": rows[table.index[0]],
        "front": [rows[label] for label in front],
        "figures": {name: _png(run / "plots" / f"{name}.png") for name in FIGURES},
        "detections": _jpeg(run / "plots" / "detections.png"),
        "classes": [
            {"variant": each.title(), "shown": label == shown, "rows": _records(class_differences(run, each))}
            for label, each in zip(table.index, chosen)
        ],
        "board": [_board(run, each) for each in chosen if read_board(run, each)],
        "layers": [_layers(run, each) for each in _analysed(chosen, config)],
        "toolkit": sorted(toolkits),
        "versions": versions(),
        "commit": commit(),
        "dataset_files": dataset_checksum(run / "dataset"),
        "checksums": checksums(run, _files(run, chosen)),
        "config": portable_config(config),
    }


def _is_end2end(onnx: Path) -> bool:
    spec = OutputSpec.from_metadata(metadata(load(onnx)))
    return spec is not None and spec.end2end


def _analysed(chosen: list[Variant], config: dict) -> list[Variant]:
    """Those of the variants that the config's `layers` names."""
    asked = {tuple(map(str, each)) for each in variants(**config["layers"])}
    return [each for each in chosen if tuple(map(str, each)) in asked]


def _accuracy(run: Path, variant: Variant) -> dict:
    """mAP50-95 of the FP32 baseline and of the INT8 model as texts, each with the limits of its 95 % interval."""
    files = {"fp32": run_files.exported_metrics(run, variant), "int8": run_files.metrics(run, variant)}
    keys = {"map": "map50_95", "low": "map50_95_low", "high": "map50_95_high"}
    return {
        name: {short: number_text(metrics[key]) for short, key in keys.items()}
        for name, path in files.items()
        for metrics in [read_json(path, *keys.values())]
    }


def _layers(run: Path, variant: Variant) -> dict:
    """The layers of a variant that lose most by themselves, and the plot of all."""
    layers = pd.read_csv(require(run_files.layers(run, variant, ".csv"), "analysis of layers"))
    return {
        "variant": variant.title(),
        "rows": _records(worst(layers.dropna(subset=["single_cos"]), WORST_LAYERS)),
        "figure": _png(run_files.layers(run, variant, ".png")),
    }


def _board(run: Path, variant: Variant) -> dict:
    """What a board told of a variant, and the simulator's mAP50-95 to read it beside."""
    return {
        "title": variant.title(),
        "simulator": read_metrics(run, variant)[1]["map50_95"],
        **read_board(run, variant),
    }


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _files(run: Path, chosen: list[Variant]) -> list[Path]:
    """The files whose checksums pin the run: weights, split, each ONNX and each .rknn, in the order they are made."""
    return [
        *sorted({path for each in chosen for path in model_files(run / "weights" / each.model)}),
        run / "dataset" / "split.csv",
        *sorted({run_files.onnx(run, each, stage) for each in chosen for stage in (run_files.EXPORTED, each.head)}),
        *sorted(run_files.rknn_model(run, each) for each in chosen),
    ]


def _png(path: Path) -> dict:
    return _data_uri("image/png", require(path, "plot").read_bytes(), _plot(path))


def _plot(path: Path):
    """A plot, decoded. Raises UserError when it is missing or damaged."""
    if reason := damage(require(path, "plot")):
        raise UserError(f"{path} is damaged ({reason}); delete it and run the step that makes it again")
    return read_image(path)


def _jpeg(path: Path) -> dict:
    image = _plot(path)
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return _data_uri("image/jpeg", encoded.tobytes(), image)


def _data_uri(kind: str, content: bytes, image) -> dict:
    """An image's address and its size in pixels, which keeps its place while the page loads."""
    height, width = image.shape[:2]
    return {"address": f"data:{kind};base64,{base64.b64encode(content).decode()}", "width": width, "height": height}

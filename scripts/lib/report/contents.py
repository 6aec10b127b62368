"""What the report shows, read from a run's folder and put in order; page.html only lays it out."""

import base64
from pathlib import Path
from typing import NamedTuple

import cv2
import pandas as pd

from lib.choice import best_first, focus, pareto_front, recommended
from lib.dataset import read_picture
from lib.files import read_json, require
from lib.imgsz import parse_imgsz
from lib.layer_errors import worst
from lib.report.provenance import checksums, commit, dataset_checksum, portable_config, versions
from lib.table import DIGITS, MAP_DIGITS, Variant, class_differences, from_csv, read_metrics, variant_of, variants
from lib.verdict import FAILS, RUNS, UNSURE
from lib.weights_folder import model_files

WORST_LAYERS = 10
FIGURES = ("pareto", "map_over_imgsz", "map_over_max_images", "class_changes")
JPEG_QUALITY = 82  # photographs as PNG would make the page several times as large


class Column(NamedTuple):
    """A column of the table: its heading and what it means."""

    label: str
    meaning: str


COLUMNS = {
    "model": Column("Model", "name under models in the config"),
    "imgsz": Column("Image size", "width x height of the input in pixels; one number for a square"),
    "head": Column("Head", "single: one output with boxes and scores; split: raw maps a stride, decoded outside"),
    "algorithm": Column("Algorithm", "how the toolkit chooses the value ranges of INT8"),
    "max_images": Column("Calibration images", "pictures that the value ranges were measured on"),
    "map50_95_int8": Column("mAP50-95 INT8", "the INT8 model on the toolkit's simulator"),
    "map50_95_fp32": Column("mAP50-95 FP32", "the ONNX as exported, by onnxruntime"),
    "retention": Column("Retention", "mAP50-95 in INT8 / in FP32"),
    "verdict": Column("Verdict", "whether the board will run it, as the build log tells: runs, fails or unsure"),
    "npu_mcycles": Column("NPU Mcycles", "the toolkit's estimate for one inference, in millions of cycles"),
    "map50_int8": Column("mAP50 INT8", "as mAP50-95 INT8, at one IoU threshold, 0.5"),
    "map50_fp32": Column("mAP50 FP32", "as mAP50-95 FP32, at one IoU threshold, 0.5"),
    "map50_95_adapted": Column("mAP50-95 adapted", "the ONNX after graph surgery, in FP32: surgery costs nothing"),
    "internal_kb": Column("Internal KB", "memory for what lies between the layers"),
    "weight_kb": Column("Weights KB", "memory for the weights"),
    "rknn_mb": Column("File MB", "size of model.rknn, in millions of bytes"),
    "cpu_ops": Column("CPU operators", "operators on the CPU other than input and output; the board has none for them"),
}
# These stand in the heading when all variants share them.
SHARED = ("model", "algorithm")


def contents(run: Path, config: dict) -> dict:
    """Everything that page.html shows of the run in the folder `run`; no time, no absolute path.

    Raises UserError when a file is missing or damaged.
    """
    table = best_first(from_csv(run / "table.csv"))
    chosen = [variant_of(row) for _, row in table.iterrows()]
    best, front, shown = recommended(table), pareto_front(table), focus(table)
    builds = {label: read_json(run / "rknn" / each.path() / "build.json") for label, each in zip(table.index, chosen)}
    exported, _ = read_metrics(run, chosen[0])
    rows = dict(zip(table.index, _rows(table, chosen, builds, best, front)))
    return {
        "run": config["run"],
        "platform": config["platform"],
        "dataset": config["dataset"]["name"],
        "pictures": exported["images"],
        "boxes": sum(each["boxes"] for each in exported["per_class"].values()),
        "heldout": config["evaluation"]["images"] == "heldout",
        "columns": _columns(table),
        "shared": {COLUMNS[name].label: table[name].iloc[0] for name in SHARED if table[name].nunique() == 1},
        "rows": list(rows.values()),
        "reasons": _reasons(rows.values()),
        "counts": {verdict: int((table.verdict == verdict).sum()) for verdict in (RUNS, FAILS, UNSURE)},
        "best": rows.get(best),
        "top": rows[table.index[0]],
        "front": [rows[label] for label in front],
        "figures": {name: _png(run / "plots" / f"{name}.png") for name in FIGURES},
        "detections": _jpeg(run / "plots" / "detections.png"),
        "classes": [
            {"variant": each.title(), "shown": label == shown, "rows": _records(class_differences(run, each))}
            for label, each in zip(table.index, chosen)
        ],
        "layers": [_layers(run, each) for each in _analysed(chosen, config)],
        "toolkit": sorted({build["toolkit"] for build in builds.values()}),
        "versions": versions(),
        "commit": commit(),
        "dataset_files": dataset_checksum(run / "dataset"),
        "checksums": checksums(run, _files(run, chosen)),
        "config": portable_config(config),
    }


def _columns(table: pd.DataFrame) -> list[dict]:
    """The columns to show: those that are known in their order, then any other; not those that all rows share."""
    known = [name for name in COLUMNS if name in table and not (name in SHARED and table[name].nunique() == 1)]
    others = [name for name in table if name not in COLUMNS]
    return [
        {"name": name, **COLUMNS.get(name, Column(name, ""))._asdict(), "number": _is_number(table, name)}
        for name in known + others
    ]


def _is_number(table: pd.DataFrame, name: str) -> bool:
    return name == "imgsz" or pd.api.types.is_numeric_dtype(table[name])


def _rows(table: pd.DataFrame, chosen: list[Variant], builds: dict, best, front: list) -> list[dict]:
    shown = [column["name"] for column in _columns(table)]
    return [
        {
            "title": variant.title(),
            "rknn": (Path("rknn") / variant.path() / "model.rknn").as_posix(),
            "cells": {name: _cell(table, row, name) for name in shown},
            "best": label == best,
            "front": label in front,
            **{name: _cell(table, row, name)["text"] for name in table.columns},
            "judged": builds[label]["verdict"],
            "costs": builds[label]["costs"],
        }
        for (label, row), variant in zip(table.iterrows(), chosen)
    ]


def _reasons(rows) -> list[dict]:
    """What speaks against variants that are not known to run: the verdict, and the variants it is on."""
    groups = {}
    for row in rows:
        if row["judged"]["result"] != RUNS:
            groups.setdefault(tuple(row["judged"].items()), []).append(row["title"])
    return [{**dict(judged), "variants": titles} for judged, titles in groups.items()]


def _cell(table: pd.DataFrame, row: pd.Series, name: str) -> dict:
    """A cell's text, and what it is sorted by: a size by its area."""
    value = row[name]
    if pd.isna(value):
        return {"text": "–", "sort": ""}
    if name == "imgsz":
        return {"text": value, "sort": parse_imgsz(value).area}
    if not _is_number(table, name):
        return {"text": value, "sort": value}
    if pd.api.types.is_integer_dtype(table[name]):
        return {"text": str(value), "sort": value}
    return {"text": f"{value:.{DIGITS.get(name, MAP_DIGITS)}f}", "sort": value}


def _analysed(chosen: list[Variant], config: dict) -> list[Variant]:
    """Those of the variants that the config's `layers` names."""
    asked = {tuple(map(str, each)) for each in variants(**config["layers"])}
    return [each for each in chosen if tuple(map(str, each)) in asked]


def _layers(run: Path, variant: Variant) -> dict:
    """The layers of a variant that lose most by themselves, and the plot of all."""
    path = (run / "layers" / variant.path()).with_suffix(".csv")
    layers = pd.read_csv(require(path, "analysis of layers"))
    return {
        "variant": variant.title(),
        "rows": _records(worst(layers.dropna(), WORST_LAYERS)),
        "figure": _png(path.with_suffix(".png")),
    }


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _files(run: Path, chosen: list[Variant]) -> list[Path]:
    """The files whose checksums pin the run: weights, split, each ONNX and each .rknn, in the order they are made."""
    graphs = [run / "onnx" / each.model / each.imgsz for each in chosen]
    return [
        *sorted({path for each in chosen for path in model_files(run / "weights" / each.model)}),
        run / "dataset" / "split.csv",
        *sorted({graph / f"{name}.onnx" for graph, each in zip(graphs, chosen) for name in ("exported", each.head)}),
        *sorted(run / "rknn" / each.path() / "model.rknn" for each in chosen),
    ]


def _png(path: Path) -> dict:
    return _data_uri("image/png", require(path, "plot").read_bytes(), read_picture(path))


def _jpeg(path: Path) -> dict:
    picture = read_picture(require(path, "plot"))
    _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return _data_uri("image/jpeg", encoded.tobytes(), picture)


def _data_uri(kind: str, content: bytes, picture) -> dict:
    """An image's address and its size in pixels, which keeps its place while the page loads."""
    height, width = picture.shape[:2]
    return {"address": f"data:{kind};base64,{base64.b64encode(content).decode()}", "width": width, "height": height}

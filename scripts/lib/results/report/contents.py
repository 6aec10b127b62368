"""What the report shows, read from a run's folder and arranged; page.html.j2 only lays it out."""

import base64
from pathlib import Path

import pandas as pd

from lib import tasks
from lib.accuracy.metrics import Metrics
from lib.accuracy.resampled_map import read_resampled, require_same_resamples
from lib.data.images import damage, read_image
from lib.data.parts import evaluated_part
from lib.data.weights_folder import model_files
from lib.detector.output_spec import OutputSpec
from lib.graph.onnx_file import load, metadata
from lib.npu.build import TOOLKIT
from lib.npu.layer_errors import worst
from lib.npu.verdict import FAILS, RUNS, UNSURE
from lib.results import run_files
from lib.results.choice import (
    CYCLES,
    TIME,
    best_first,
    focus,
    has_top1,
    indistinguishable_from,
    pareto_front,
    recommended,
)
from lib.results.detection_errors import DetectionErrors
from lib.results.report.gallery import cards, confusions, listed
from lib.results.report.page import (
    Accuracy,
    Classes,
    Detections,
    Estimate,
    Image,
    Layers,
    OnBoard,
    OnFront,
    Outputs,
    Page,
)
from lib.results.report.provenance import checksums, commit, dataset_checksum, portable_config, versions
from lib.results.report.rows import reasons, rows_of, shared, shown_columns
from lib.results.sweep import Variant, analysed, variants
from lib.results.table import BY_NAME, class_differences, from_csv, variant_of
from lib.results.variant_results import VariantResults
from lib.step.errors import UserError
from lib.step.files import require

WORST_LAYERS = 10
BEST = "best"  # of the config's `bundle`: the recommended variant
FIGURES = ("pareto", "map_over_imgsz", "map_over_max_images", "class_changes", "thresholds")


def contents(run: Path, config: dict) -> Page:
    """Everything that page.html.j2 shows about the run in the folder `run`.

    Raises UserError when a file is missing or damaged.
    """
    table = best_first(from_csv(run / "table.csv", variants(**config["sweep"])))
    results = {label: VariantResults(run, variant_of(row)) for label, row in table.iterrows()}
    chosen = [of_variant.variant for of_variant in results.values()]
    best, shown = recommended(table), focus(table)
    by_time, by_cycles = pareto_front(table, TIME), pareto_front(table, CYCLES)
    fronts = {label: _front(label in by_time, label in by_cycles) for label in dict.fromkeys([*by_time, *by_cycles])}
    alike = _indistinguishable(table, results, best)
    exported = results[table.index[0]].exported
    task = tasks.get(exported.task or tasks.DEFAULT)
    rows = dict(zip(table.index, rows_of(table, results, best, fronts)))
    return Page(
        run=config["run"],
        platform=board_in_words(config),
        task=exported.task,
        objects=task.objects,
        overlap=task.overlap_name,
        dataset=config["dataset"].get("name", "the data set"),
        part=evaluated_part(run / "dataset"),
        images=exported.images,
        boxes=sum(of_class.boxes for of_class in exported.per_class.values()),
        simulators=sorted({of_variant.build.simulator or TOOLKIT for of_variant in results.values()}),
        resamples=config["evaluation"]["resamples"],
        heldout=config["evaluation"]["images"] == "heldout",
        columns=shown_columns(table),
        shared=shared(table),
        rows=list(rows.values()),
        reasons=reasons(rows.values()),
        counts={verdict: int((table.verdict == verdict).sum()) for verdict in (RUNS, FAILS, UNSURE)},
        best=rows.get(best),
        bundle=results[shown].variant.path().as_posix(),
        bundles_best=config.get("bundle", BEST) == BEST,
        focus=rows[shown],
        accuracy=Accuracy(_estimate(results[shown].exported), _estimate(results[shown].int8)),
        decoded=not results[shown].int8.undecoded,
        accuracy_name=_accuracy_name(results[shown].int8),
        accuracy_column="top1_int8" if has_top1(table) else "map50_95_int8",
        end2end=_is_end2end(_outputs(run, results[shown].variant)),
        indistinguishable=[rows[label] for label in alike],
        fastest=rows.get(table[TIME][[best, *alike]].idxmin()) if alike else None,
        cheapest=rows.get(table[CYCLES][[best, *alike]].idxmin()) if alike else None,
        top=rows[table.index[0]],
        fronts=[OnFront(rows[label], by) for label, by in fronts.items()],
        figures={name: _png(run / "plots" / f"{name}.png") for name in FIGURES},
        detections=_detections(run),
        classes=[
            Classes(of_variant.variant.title(), label == shown, _records(class_differences(of_variant)))
            for label, of_variant in results.items()
            if not of_variant.int8.undecoded
        ],
        operating=results[shown].int8.operating,
        outputs=[
            Outputs(of_variant.variant.title(), of_variant.int8.outputs)
            for of_variant in results.values()
            if of_variant.int8.outputs
        ],
        board=[
            OnBoard(of_variant.variant.title(), of_variant.int8.accuracy, of_variant.board)
            for of_variant in results.values()
            if of_variant.board
        ],
        layers=[_layers(run, variant) for variant in analysed(chosen, config.get("layers"))],
        toolkit=(toolkit := sorted({of_variant.build.toolkit for of_variant in results.values()})),
        versions=versions() | {"rknn-toolkit2": ", ".join(toolkit)},
        commit=commit(),
        dataset_files=dataset_checksum(run / "dataset"),
        checksums=checksums(run, _files(run, chosen)),
        config=portable_config(config),
    )


def board_in_words(config: dict) -> str:
    """The board's name, where the config gives it, and its chip."""
    named = config.get("board_model")
    return f"{named} ({config['platform']})" if named else config["platform"]


def _indistinguishable(table: pd.DataFrame, results: dict, best) -> list:
    """Labels of the rows that the images cannot tell apart from the recommended one."""
    if best is None:
        return []
    resamples = {label: read_resampled(run_files.resampled(row.run, row.variant)) for label, row in results.items()}
    require_same_resamples(list(resamples.values()))
    return indistinguishable_from(table, {label: of_row.resampled for label, of_row in resamples.items()}, best)


def _front(by_time: bool, by_cycles: bool) -> str:
    return "both" if by_time and by_cycles else "time" if by_time else "cycles"


def _detections(run: Path) -> Detections:
    """The errors of the variant in focus, image by image."""
    errors = DetectionErrors.read(run_files.errors(run))
    shown = cards(errors, run / "dataset" / "images")
    in_list = listed(errors, shown)
    return Detections(
        errors.variant.title(),
        errors.threshold,
        sum(of_image.objects for of_image in errors.images),
        (sum(of_image.false for of_image in errors.images), sum(of_image.missed for of_image in errors.images)),
        (
            sum(of_image.fp32_false for of_image in errors.images),
            sum(of_image.fp32_missed for of_image in errors.images),
        ),
        shown,
        in_list,
        len(errors.images) - len(in_list),
        confusions(errors),
    )


def _outputs(run: Path, variant: Variant) -> OutputSpec | None:
    """What the outputs of a variant mean; None where nothing decodes them."""
    return OutputSpec.from_metadata(metadata(load(run_files.onnx(run, variant, variant.head))))


def _is_end2end(outputs: OutputSpec | None) -> bool:
    return outputs is not None and outputs.end2end


def _estimate(metrics: Metrics) -> Estimate:
    """mAP50-95, or top-1 of a classifier, with the limits of its 95 % interval."""
    text = BY_NAME["map50_95_int8"].text
    figures = metrics.map50_95, metrics.map50_95_low, metrics.map50_95_high
    if metrics.top1 is not None:
        figures = metrics.top1, metrics.top1_low, metrics.top1_high
    return Estimate(*map(text, figures))


def _accuracy_name(metrics: Metrics) -> str | None:
    if metrics.top1 is not None:
        return "top-1"
    return None if metrics.undecoded else "mAP50-95"


def _layers(run: Path, variant: Variant) -> Layers:
    """A variant's layers with the largest error of their own, its outputs if the task adds some, and the plot."""
    layers = pd.read_csv(require(run_files.layers(run, variant, ".csv"), "analysis of layers"))
    worst_layers = worst(layers.dropna(subset=["single_cos"]), WORST_LAYERS)
    outputs = _outputs(run, variant)
    names = [output.name for output in outputs.maps()] if outputs and outputs.extras else []
    return Layers(
        variant.title(),
        _records(worst_layers),
        _records(layers[layers.layer.isin(names)]),
        _png(run_files.layers(run, variant, ".png")),
    )


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _files(run: Path, chosen: list[Variant]) -> list[Path]:
    """The files whose checksums identify the run: weights, split, each ONNX and each .rknn, in the order of making."""
    models = {variant.model for variant in chosen}
    graphs = {(variant, stage) for variant in chosen for stage in (run_files.EXPORTED, variant.head)}
    return [
        *sorted(path for model in models for path in model_files(run / "weights" / model)),
        run / "dataset" / "split.csv",
        *sorted({run_files.onnx(run, variant, stage) for variant, stage in graphs}),
        *sorted(run_files.rknn_model(run, variant) for variant in chosen),
    ]


def _png(path: Path) -> Image:
    """A plot. Raises UserError when it is missing or damaged."""
    if reason := damage(require(path, "plot")):
        raise UserError(f"{path} is damaged ({reason}); delete it and run again")
    height, width = read_image(path).shape[:2]
    return Image(f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}", width, height)

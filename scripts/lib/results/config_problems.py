"""What is wrong with a config: its form, contradictions between its keys, and with the files that it names."""

from functools import cache
from pathlib import Path

from lib.data.config_files import DATASET_FORMATS, DATASET_KINDS, WITH_IMAGES, WITH_NAMES
from lib.data.formats import class_folders
from lib.data.formats.source import first_few
from lib.data.imgsz import STRIDE, parse_imgsz
from lib.data.input_form import InputForm
from lib.data.keypoints import KEYPOINT_TASK, keypoint_shape, keypoint_sigmas
from lib.data.published import published
from lib.data.sources import DRAWN, is_url, missing_checksum
from lib.detector.head import AS_IS, CLASSIFY, HEADS, SINGLE, SPLIT, TASK_OF_SINGLE
from lib.graph.checkpoint_names import CheckpointFacts, checkpoint_facts
from lib.graph.class_names import demand_same_order
from lib.npu.algorithms import OWN, RANGED, SEARCH, either
from lib.npu.build import TOOLKIT
from lib.npu.search import FEWEST
from lib.npu.timing import CLOCKS, clock
from lib.npu.toolkit_versions import DEFAULT, OWN_RANGES, missing_sentence
from lib.step.config import form_problems, nearest
from lib.step.errors import UserError

# Formats that hold only boxes, and the task besides boxes that they serve if the boxes are rotated.
BOX_FORMATS, TASK_OF_ROTATED = {"voc", "dota"}, "obb"
# Blocks that name one variant.
STUDIES = ("calibration_study", "toolkit_study")


def problems(config: dict, schema: dict) -> list[str]:
    """Every problem of `config`, one sentence each: those of form or, if there are none, those between keys."""
    return form_problems(config, schema) or list(dict.fromkeys(_relations(config)))


def export_problems(config: dict) -> list[str]:
    """One sentence per model of the sweep whose exported ONNX files, if all are on this machine, lack a size."""
    return [line for name in config["sweep"]["model"] if (line := _sizes_problem(config, name))]


def names_problems(config: dict, names: tuple[str, ...] | None) -> list[str]:
    """One sentence per model of the sweep that is on this machine and whose classes are not the data set's `names`."""
    lines = []
    for model in config["sweep"]["model"] if names else ():
        theirs = _names_of_model(config["models"][model])
        if theirs and len(theirs) != len(names):
            lines.append(
                f"models.{model} has {len(theirs)} classes ({first_few(theirs)}), but the data set has {len(names)} "
                f"({first_few(names)}); name the data set that the model was trained for, or correct its class names"
            )
        elif theirs and config["evaluation"]["class_order"] == "same":
            try:
                demand_same_order(f"models.{model}", theirs, list(names))
            except UserError as error:
                lines.append(str(error).replace("\n", "\n  "))
    return lines


def toolkit_problems(config: dict) -> list[str]:
    """One sentence if the config's toolkit version is not installed."""
    sentence = missing_sentence(config["toolkit"])
    return [sentence] if sentence else []


def checkpoint_problems(config: dict) -> list[str]:
    """One sentence per model of the sweep that is on this machine and is for another task than the config's."""
    lines = []
    for model in config["sweep"]["model"]:
        facts = _facts_of_model(config["models"][model])
        if facts and facts.task not in (None, config["task"]):
            lines.append(
                f"models.{model} is a checkpoint for the task '{facts.task}', but task is {config['task']}; set task, "
                "or name another checkpoint"
            )
    return lines


def keypoint_problems(config: dict, kpt_shape: object) -> list[str]:
    """One sentence per model of the sweep on this machine whose keypoints differ from the data set's `kpt_shape`.

    And one for sigmas whose number differs.
    """
    if kpt_shape is None or config["task"] != KEYPOINT_TASK:
        return []
    try:
        shape = keypoint_shape(kpt_shape, "kpt_shape of the data set")
    except UserError as error:
        return [str(error)]
    lines = []
    for model in config["sweep"]["model"]:
        facts = _facts_of_model(config["models"][model])
        if facts and facts.kpt_shape and facts.kpt_shape[0] != shape.keypoints:
            theirs = f"the data set has {shape.keypoints} (kpt_shape {shape})"
            lines.append(f"models.{model} has {facts.kpt_shape[0]} keypoints, but {theirs}")
    sigmas = keypoint_sigmas(config["evaluation"]["oks_sigmas"], "evaluation.oks_sigmas")
    if sigmas and len(sigmas) != shape.keypoints:
        lines.append(
            f"evaluation.oks_sigmas has {len(sigmas)} numbers for {shape.keypoints} keypoints; give one per keypoint"
        )
    return lines


def _names_of_model(model: dict) -> list[str] | None:
    facts = _facts_of_model(model)
    return facts.names if facts else None


def _facts_of_model(model: dict) -> CheckpointFacts | None:
    """The facts of a model's checkpoint, where the source that the run would use is on this machine."""
    sources = [source for source in model.get("weights", []) if "cfg" not in model]
    paths = [Path(source).expanduser() for source in sources if not is_url(source)]
    here = next((path for path in paths if path.is_file()), None)
    return _facts_of_file(here, here.stat().st_mtime_ns) if here else None


@cache
def _facts_of_file(path: Path, changed_ns: int) -> CheckpointFacts | None:
    """What the checkpoint at `path` says, read once; `changed_ns` keeps what is remembered of it fresh."""
    return checkpoint_facts(path)


def _sizes_problem(config: dict, name: str) -> str | None:
    paths = [Path(source).expanduser() for source in config["models"][name].get("onnx", [])]
    if not paths or not all(path.is_file() for path in paths):
        return None  # checked when it has been downloaded; that step also reports missing sizes
    # Imported here: few configs name an ONNX, and each start of Snakemake would wait for it.
    from lib.graph.onnx_source import by_size, lacking_line, sizes_lacking

    try:
        files = by_size(paths)
    except UserError as error:
        return f"models.{name}.onnx: {error}"
    lacking = sizes_lacking(files, [str(size) for size in config["sweep"]["imgsz"]])
    return lacking_line(name, files, lacking) if lacking else None


def _relations(config: dict):
    yield from _model_names_problems(config)
    yield from _imgsz_problems(config)
    yield from _dataset_problems(config)
    yield from _task_problems(config)
    if DRAWN in config["dataset"].get("archive", []) and not config["draw"]["images"]:
        yield f"dataset.archive names '{DRAWN}', the images that the run draws itself, but draw.images is 0; set it"
    try:
        clock(str(config["verdict"]["clock_mhz"]))
    except ValueError as error:
        yield f"verdict.clock_mhz is '{error}', neither a number of MHz nor one of {', '.join(CLOCKS)}"
    yield from _simulator_problems(config)
    yield from _search_problems(config)
    pool = config["split"]["calibration"]
    for count in config["sweep"]["max_images"]:
        if count > pool:
            yield f"sweep.max_images asks for {count} calibration images, but the pool (split.calibration) has {pool}"
    yield from _repeated_values(config)


def _model_names_problems(config: dict):
    of_studies = [(key, [config[key]["model"]]) for key in STUDIES]
    for key, names in (("sweep", config["sweep"]["model"]), *of_studies):
        for name in names:
            if name not in config["models"]:
                yield f"{key}.model names '{name}'{nearest(name, sorted(config['models']))}; describe it under models"
            else:
                yield from _model_problems(name, config["models"][name])


def _imgsz_problems(config: dict):
    sweep = config["sweep"]
    swept = STRIDE if set(sweep["head"]) & set(HEADS) else 1  # only detectors have strides
    of_studies = [(key, [config[key]["imgsz"]], STRIDE) for key in STUDIES]
    for key, sizes, multiple in (("sweep", sweep["imgsz"], swept), *of_studies):
        for size in sizes:
            try:
                spelling = str(parse_imgsz(size, multiple))
            except UserError as error:
                yield f"{key}.imgsz: {error}"
            else:
                if spelling != str(size):
                    yield f"{key}.imgsz: write {spelling} for the square '{size}'"


def _repeated_values(config: dict):
    for block in ("sweep", "frontier", *STUDIES):
        for name, values in config[block].items():
            if isinstance(values, list) and len(set(map(str, values))) < len(values):
                yield f"{block}.{name} names a value twice: {', '.join(map(str, values))}"


def _dataset_problems(config: dict):
    dataset = config["dataset"]
    described = [key for key in DATASET_FORMATS if key in dataset]
    unlabelled = not described and "images" in dataset and not set(config["sweep"]["head"]) & set(HEADS)
    if not described and "archive" not in dataset and not unlabelled:
        formats = either(["archive", *DATASET_FORMATS])
        yield f"dataset names no data set; give {formats} (or images, for the head as_is)"
    if len(described) > 1:
        yield f"dataset: {' and '.join(described)} each name a data set; keep one"
    for key in WITH_NAMES & set(described):
        if "names" in dataset:
            yield f"dataset.names: the class names come from dataset.{key}; leave the key out"
    if "images" in dataset and not WITH_IMAGES & set(described) and not unlabelled:
        formats = either([key for key in DATASET_FORMATS if key in WITH_IMAGES])
        yield f"dataset.images belongs to dataset.{formats}; only the head as_is can use images without labels"
    if "calibration" in dataset and config["evaluation"]["images"] == "all":
        yield "evaluation.images is all, but images of dataset.calibration are never evaluated on; set it to heldout"


def _algorithms(config: dict) -> list[tuple[str, list[str]]]:
    """The algorithms of the sweep and of the calibration study, by their keys."""
    return [("sweep", config["sweep"]["algorithm"]), ("calibration_study", [config["calibration_study"]["algorithm"]])]


def _simulator_problems(config: dict):
    simulator = config["evaluation"]["simulator"]
    if simulator == TOOLKIT:
        return
    if (version := config["toolkit"]) != DEFAULT:
        yield f"evaluation.simulator: {simulator} computes as toolkit {DEFAULT} does, but toolkit is {version}"
    known = {"sweep": RANGED, "calibration_study": (*RANGED, SEARCH)}
    for key, algorithms in _algorithms(config):
        if others := [algorithm for algorithm in algorithms if algorithm not in known[key]]:
            needed = f"evaluation.simulator: {simulator} needs the algorithm {either(known[key])}"
            yield f"{needed}, but {key}.algorithm is {others[0]}"


def _search_problems(config: dict):
    for key, algorithms in _algorithms(config):
        if config["toolkit"] == OWN_RANGES:
            for name in sorted(set(OWN).intersection(algorithms)):
                yield f"{key}.algorithm: toolkit {OWN_RANGES} takes no ranges, so there is no {name} with it"
        fewest = min(config[key]["max_images"])
        if SEARCH in algorithms and fewest < FEWEST:
            yield f"{key}.max_images: {SEARCH} needs {FEWEST} calibration images or more, not {fewest}"


def _task_problems(config: dict):
    task, dataset, sigmas = config["task"], config["dataset"], config["evaluation"]["oks_sigmas"]
    shape = None
    try:
        if "kpt_shape" in dataset:
            shape = keypoint_shape(dataset["kpt_shape"], "dataset.kpt_shape")
        sigmas = keypoint_sigmas(sigmas, "evaluation.oks_sigmas")
    except UserError as error:
        yield str(error)
        return
    for key, given in (("dataset.kpt_shape", shape), ("evaluation.oks_sigmas", sigmas)):
        if given and task != KEYPOINT_TASK:
            yield f"{key} is for the task {KEYPOINT_TASK}, but task is {task}; leave the key out, or change task"
    if shape and sigmas and shape.keypoints != len(sigmas):
        yield (
            f"evaluation.oks_sigmas has {len(sigmas)} numbers for {shape.keypoints} keypoints (dataset.kpt_shape); "
            "give one per keypoint"
        )
    yield from _classifier_problems(config)
    if task == TASK_OF_SINGLE:
        return
    if SINGLE in config["sweep"]["head"]:
        yield f"sweep.head: {SINGLE} is only for boxes, but task is {task}; set sweep: {{head: [{SPLIT}]}}"
    for key in sorted(BOX_FORMATS & dataset.keys()):
        if task != TASK_OF_ROTATED:
            yield f"dataset.{key} has only boxes, rotated or not, but task is {task}; give archive, yaml or coco"
    for name in config["sweep"]["model"]:
        yield from (
            f"models.{name}.{key} is for a model with boxes only, but task is {task}; leave the model out of the sweep"
            for key in ("cfg", "anchors")
            if key in config["models"].get(name, {})
        )


def _classifier_problems(config: dict):
    task, dataset, heads = config["task"], config["dataset"], config["sweep"]["head"]
    if task != CLASSIFY:
        for key, block in (("dataset", dataset), ("dataset.calibration", dataset.get("calibration") or {})):
            if class_folders.KEY in block:
                yield f"{key}.{class_folders.KEY} is for the task {CLASSIFY}, but task is {task}"
        return
    if set(heads) != {AS_IS}:
        yield f"sweep.head: a classifier can have only the head {AS_IS}; set sweep: {{head: [{AS_IS}]}}"
    if others := DATASET_KINDS - {class_folders.KEY} & dataset.keys():
        yield (
            f"dataset.{min(others)} has labels of objects, but task is {CLASSIFY}; give {class_folders.KEY}, "
            "a folder of images per class, or images without labels"
        )


def _model_problems(name: str, model: dict):
    if ("weights" in model) == ("onnx" in model):
        known = "" if model else f"; published models need neither: {', '.join(published()['models'])}"
        kinds = "weights (a checkpoint, or Darknet's with cfg) or onnx (exported models)"
        yield f"models.{name}: give either {kinds}{known}"
        return
    try:
        InputForm().with_changes(model.get("input", {}))
    except UserError as error:
        yield f"models.{name}.input: {error}"
    count = len(model["sha256"]) if isinstance(model.get("sha256"), list) else 1
    if model.get("sha256") and count != len(model.get("onnx", [""])):
        yield f"models.{name}.sha256 has {count} checksums for {len(model.get('onnx', ['']))} files"
    if "onnx" in model:
        yield from (
            f"models.{name}.{key} belongs to Darknet's weights; an ONNX has its own; leave the key out"
            for key in ("cfg", "names")
            if key in model
        )
        return
    if "anchors" in model:
        yield f"models.{name}.anchors belongs to an exported model (onnx); weights contain their own; leave the key out"
    if "cfg" in model:
        return
    if not model.get("sha256"):
        yield f"models.{name}: {missing_checksum(model['weights'])}"
    if "names" in model:
        yield f"models.{name}.names belongs to a Darknet model, one with cfg; a checkpoint has its own; leave it out"

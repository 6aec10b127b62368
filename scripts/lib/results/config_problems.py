"""What is wrong with a config: its form, and the relations between its keys."""

from lib.data.imgsz import parse_imgsz
from lib.data.sources import DRAWN, missing_checksum
from lib.npu.timing import CLOCKS, clock
from lib.step.config import form_problems, nearest
from lib.step.errors import UserError


def problems(config: dict, schema: dict) -> list[str]:
    """Every problem of `config`, a sentence each: first those of form, then (if there are none) those between keys."""
    return form_problems(config, schema) or list(dict.fromkeys(_relations(config)))


def _relations(config: dict):
    sweep, study = config["sweep"], config["calibration_study"]
    for key, names in (("sweep", sweep["model"]), ("calibration_study", [study["model"]])):
        for name in names:
            if name not in config["models"]:
                yield f"{key}.model names '{name}'{nearest(name, sorted(config['models']))}; describe it under models"
            else:
                yield from _model_problems(name, config["models"][name])
    for key, sizes in (("sweep", sweep["imgsz"]), ("calibration_study", [study["imgsz"]])):
        for size in sizes:
            try:
                spelling = str(parse_imgsz(size))
            except UserError as error:
                yield f"{key}.imgsz: {error}"
            else:
                if spelling != str(size):
                    yield f"{key}.imgsz: write {spelling} for the square '{size}'"
    yield from _dataset_problems(config)
    if DRAWN in config["dataset"].get("archive", []) and not config["draw"]["images"]:
        yield f"dataset.archive names '{DRAWN}', the images that the run draws itself, and draw.images is 0"
    try:
        clock(str(config["verdict"]["clock_mhz"]))
    except ValueError as error:
        yield f"verdict.clock_mhz is '{error}', neither a number of MHz nor one of {', '.join(CLOCKS)}"
    pool = config["split"]["calibration"]
    for count in sweep["max_images"]:
        if count > pool:
            yield f"sweep.max_images asks for {count} calibration images, the pool (split.calibration) holds {pool}"
    for name, values in sweep.items():
        if len(set(map(str, values))) < len(values):
            yield f"sweep.{name} names a value twice: {', '.join(map(str, values))}"


def _dataset_problems(config: dict):
    dataset = config["dataset"]
    described = [key for key in ("yaml", "coco", "voc", "obj_data") if key in dataset]
    if not described and "archive" not in dataset:
        yield "dataset names no data set; give archive, yaml, coco, voc or obj_data"
    if len(described) > 1:
        yield f"dataset: {' and '.join(described)} are two data sets; keep one"
    for key in {"yaml", "obj_data"} & set(described):
        if "names" in dataset:
            yield f"dataset.names: the names are those of dataset.{key}; leave the key out"
    if "images" in dataset and not {"coco", "voc"} & set(described):
        yield "dataset.images belongs to dataset.coco or dataset.voc"
    if "calibration" in dataset and config["evaluation"]["images"] == "all":
        yield "evaluation.images is all, and images of dataset.calibration are not evaluated on; set it to heldout"


def _model_problems(name: str, model: dict):
    if "cfg" in model:
        return
    if not model.get("sha256"):
        yield f"models.{name}: {missing_checksum(model['weights'])}"
    if "names" in model:
        yield f"models.{name}.names belongs to a Darknet model, one with cfg; a checkpoint holds its own names"

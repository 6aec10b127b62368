"""A config for a model and a data set that a user names: an overlay of a few lines, each with its origin."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from lib.data.archives import is_archive, reading, refuse_other
from lib.data.config_files import WITH_NAMES
from lib.data.foreign import hint_of_names
from lib.data.formats import class_folders, dota
from lib.data.imgsz import parse_imgsz
from lib.data.model_kinds import SUFFIXES, kind_of
from lib.data.parts import EVALUATED, TRAIN
from lib.data.preview import described, stand_ins
from lib.data.sources import is_url
from lib.detector.head import CLASSIFY
from lib.graph.checkpoint_names import checkpoint_facts
from lib.step.errors import UserError
from lib.step.files import read_text, refuse_lfs_pointer, sha256

MARK = "# Written by scripts/start.py"  # the first line of a file that this program wrote
MODELS = (".pt", ".onnx", ".cfg", ".weights")
NAMES = ".names"
POOL = 64  # images that calibration sets are drawn from, if the data set has that many
FEW = 16  # images of a small calibration set
SIZES = ("320", "640")


@dataclass(frozen=True)
class Model:
    """A model, given by its files: its block in the config, and what is known about it before anything runs.

    sizes: input sizes of its exports or its description, none for a checkpoint. names: its class names.
    """

    name: str
    block: dict
    sizes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    task: str = "detect"


@dataclass(frozen=True)
class Data:
    """A data set: its block in the config, how many images it has for each purpose, and its class names."""

    block: dict
    pool: int | None  # images that calibration sets may be drawn from; None where it is not known yet
    held: int | None
    names: tuple[str, ...]
    most: int | None = None  # images that the pool may have; None where it is not known yet


@dataclass(frozen=True)
class Wishes:
    """What the user asks for besides model and data set; an empty tuple lets the model and the data set decide."""

    run: str
    board: str | None
    imgsz: tuple[str, ...]
    max_images: tuple[int, ...]
    head: tuple[str, ...]


def sorted_out(files: list[str]) -> tuple[list[str], str]:
    """The files of the model, and the data set. Raises UserError unless there is one of each."""
    models = [file for file in files if Path(file).suffix.lower() in (*MODELS, NAMES)]
    others = [file for file in files if file not in models]
    for file in files:
        if not is_url(file) and not Path(file).expanduser().exists():
            raise UserError(f"there is no file or folder {file}")
        refuse_lfs_pointer(Path(file).expanduser())
    if other := next((file for file in others if Path(file).suffix.lower() in SUFFIXES), None):
        raise UserError(
            f"{other} is {kind_of(Path(other))}, which is not read; name the checkpoint (.pt) that it was made from, "
            "or export the model to ONNX"
        )
    if not models or len(others) != 1:
        raise UserError(
            f"name the model ({', '.join(MODELS[:2])}, or {' and '.join(MODELS[2:])}) and one data set: its data.yaml, "
            "a COCO JSON, a zip, a tar or a folder"
        )
    return models, others[0]


def model_of(files: list[str]) -> Model:
    """The model that files make up. Raises UserError when they belong to several models, or one cannot be read."""
    by_suffix: dict[str, list[str]] = {}
    for file in files:
        by_suffix.setdefault(Path(file).suffix.lower(), []).append(file)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(files[0]).stem).lstrip("._-") or "model"
    kinds = set(by_suffix)
    if NAMES in kinds and not {".cfg", ".weights"} & kinds:
        raise UserError(
            f"{by_suffix[NAMES][0]} belongs to a .cfg and .weights; the classes of other models have the "
            "data set's names or their own, so leave it out"
        )
    alone = all(len(by_suffix[kind]) == 1 for kind in kinds - {".onnx"})
    if kinds == {".pt"} and alone:
        path = Path(by_suffix[".pt"][0]).expanduser()
        facts = checkpoint_facts(path)
        names, task = (tuple(facts.names), facts.task or "detect") if facts else ((), "detect")
        return Model(name, {"weights": by_suffix[".pt"], "sha256": sha256(path)}, (), names, task)
    if kinds == {".onnx"}:
        # Imported here: ONNX takes a moment to load, and checkpoints do not need it.
        from lib.graph.onnx_file import load, metadata
        from lib.graph.onnx_source import DYNAMIC, by_size

        sizes = by_size([Path(file).expanduser() for file in files])
        # Ultralytics writes the task into its exports.
        task = metadata(load(Path(files[0]).expanduser())).get("task", "detect")
        return Model(name, {"onnx": files}, tuple(size for size in sizes if size != DYNAMIC), (), task)
    if kinds - {NAMES} == {".cfg", ".weights"} and alone:
        [cfg], [weights] = by_suffix[".cfg"], by_suffix[".weights"]
        block = {"cfg": [cfg], "weights": [weights], "sha256": sha256(Path(weights).expanduser())}
        block |= {"names": by_suffix[NAMES][0]} if NAMES in by_suffix else {}
        return Model(name, block, _size_of_cfg(Path(cfg).expanduser()))
    raise UserError(
        f"{', '.join(files)} are not the files of one model: one .pt, one .cfg and .weights (and .names), or "
        ".onnx files"
    )


def _size_of_cfg(cfg: Path) -> tuple[str, ...]:
    """The input size in Darknet's description of a network; empty where it gives none that is supported."""
    sides = dict(re.findall(r"^\s*(width|height)\s*=\s*(\d+)", read_text(cfg), re.M))
    try:
        return (str(parse_imgsz(f"{sides['width']}x{sides['height']}")),)
    except (KeyError, UserError):
        return ()


def data_of(path: str, images: str | None, model: Model) -> Data:
    """The data set at a path. Raises UserError when its format is unknown, or its description is wrong."""
    # Only the model tells that the names of folders are classes.
    form = class_folders.KEY if model.task == CLASSIFY else _form_of(Path(path).expanduser())
    block = {form: path}
    if "archive" in block:
        block["archive"] = [path]
    if images:
        block["images"] = images
    numbered = "archive" in block
    with stand_ins() as scratch:
        # Names of categories give no order of the classes, but the model's do. Class numbers have the set's own names.
        sources = described(block, None if numbered else model.names or None, scratch, model.task)
    source = sources[0] if sources else None
    names = tuple((source and source.names) or model.names)
    if names and (numbered or model.names) and not WITH_NAMES & block.keys():
        block["names"] = list(names)
    if source is None:
        return Data(block, None, None, names)
    train, held = ({item.image for item in source.items if item.part in parts} for parts in ((TRAIN,), EVALUATED[:1]))
    if not names:
        raise UserError(
            f"{path} has no class names, and the model's are not known; name its data.yaml, or write the names into a "
            "classes.txt beside its folder 'images', one per line"
        )
    if held and train - held:
        return Data(block, len(train - held), len(held), names, len(train - held))
    drawn_from = held or train or {item.image for item in source.items}
    return Data(block, len(drawn_from) // 2, None, names, len(drawn_from) - 1)


def _form_of(path: Path) -> str:
    """The config's key for a data set, by the files in it."""
    by_suffix = {".yaml": "yaml", ".yml": "yaml", ".json": "coco", ".data": "obj_data"}
    if path.suffix.lower() in by_suffix:
        return by_suffix[path.suffix.lower()]
    if path.is_dir():
        inside = [file.relative_to(path).as_posix() for file in path.rglob("*")]
    elif is_archive(path):
        with reading(path) as (members, _):
            inside = [str(member.path) for member in members]
    else:
        refuse_other(path)
        raise UserError(f"{path} is not a data.yaml, a COCO JSON, a zip, a tar or a folder")
    names = [name for name in inside if not any(part[0] == "." or part == "__MACOSX" for part in Path(name).parts)]
    # The surest come first: Roboflow adds a README.txt, Label Studio a notes.json.
    forms = (
        ("yaml", lambda name: name.endswith(("data.yaml", "data.yml", "dataset.yaml"))),
        ("voc", lambda name: "Annotations/" in name and name.endswith(".xml")),
        (
            "dota",
            lambda name: any(part.startswith(dota.FOLDERS) for part in Path(name).parts[:-1]) and name.endswith(".txt"),
        ),
        ("obj_data", lambda name: name.endswith("obj.data")),
        ("archive", lambda name: "labels" in Path(name).parts[:-1] and name.endswith(".txt")),
        ("coco", lambda name: name.endswith(".json")),
        ("voc", lambda name: name.endswith(".xml")),
        ("archive", lambda name: name.endswith(".txt")),
    )
    for key, fits in forms:
        if any(map(fits, names)):
            return key
    raise UserError(f"{path} contains no labels: no data.yaml, COCO JSON, VOC XML or label .txt{hint_of_names(names)}")


def overlay(model: Model, data: Data, wishes: Wishes, path: Path) -> str:
    """The text of a config file, to be written to `path`, that `--configfile` lays over the workflow's own.

    Raises UserError when the data set has fewer images to calibrate on than the user asks for.
    """
    if data.most is not None and max(wishes.max_images, default=0) > data.most:
        raise UserError(
            f"--max-images {max(wishes.max_images)}: the data set has {data.most} images to calibrate on; ask for "
            f"{data.most} or fewer"
        )
    pool = min(POOL, data.pool or POOL)
    max_images = wishes.max_images or tuple(sorted({min(FEW, pool), pool}))
    imgsz = tuple(str(parse_imgsz(size)) for size in wishes.imgsz or model.sizes or SIZES)
    counts = f"{data.pool} images to calibrate on, {data.held} to evaluate on; " if data.held else ""
    heads = list(wishes.head)
    trusted = "  # of the file; loading a checkpoint runs code in it" if ".pt" in str(model.block) else ""
    sizes = [int(size) if size.isdecimal() else size for size in imgsz]
    lines = [
        f"{MARK}, which overwrites it. Run it again: snakemake -j4 --configfile {path}",
        f"run: {_flow(wishes.run)}  # results are in results/{wishes.run}",
        *([f"task: {model.task}"] if model.task != "detect" else []),
        *([f"board_model: {wishes.board}  # sets platform, memory and clock"] if wishes.board else []),
        "models:",
        f"  {model.name}:",
        *(f"    {key}: {_flow(value)}{trusted if key == 'sha256' else ''}" for key, value in model.block.items()),
        f"dataset: {_flow(data.block)}  # {counts}{_classes(data.names)}",
        f"split: {{calibration: {max(pool, *max_images)}}}  # images that calibration sets are drawn from",
        "sweep:  # every combination is a variant",
        f"  model: [{model.name}]",
        f"  imgsz: {_flow(sizes)}",
        f"  max_images: {_flow(list(max_images))}",
        f"  head: {_flow(heads)}",
        f"layers: {_flow(_analysed(model, sizes, max_images, heads))}  # where INT8 loses accuracy",
    ]
    return "".join(f"{line}\n" for line in lines)


def _analysed(model: Model, sizes: list, max_images: tuple[int, ...], heads: list[str]) -> dict:
    """The variant whose layers are analysed: the first size, the most images; the head as_is has no such analysis."""
    names = [model.name] if set(heads) != {"as_is"} else []
    return {"model": names, "imgsz": sizes[:1], "max_images": [max(max_images)], "head": heads[:1]}


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(name if name.isascii() else ascii(name)[1:-1] for name in names[:4])
    return f"{len(names)} class{'es' if len(names) > 1 else ''}: {shown}{', ...' if len(names) > 4 else ''}"


def _flow(value) -> str:
    """A value as one line of YAML, in ASCII, since Snakemake reads a config in the encoding of the locale."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("...\n").strip()

"""Finds the files that a config names, and which of them a step depends on."""

import copy
from pathlib import Path

from lib.data.sources import DRAWN, is_url
from lib.step.workflow import refuse

# The keys of formats that a file or folder of their own describes. lib.data.formats has them too, but loads slowly.
DATASET_FORMATS = ("yaml", "coco", "voc", "dota", "obj_data", "class_folders")
WITH_NAMES = {"yaml", "obj_data"}  # formats that have the class names themselves
WITH_IMAGES = {"coco", "voc", "dota"}  # formats whose images the key `images` may name
DATASET_PATHS = {*DATASET_FORMATS, "images"}
DATASET_KINDS = {*DATASET_FORMATS, "archive"}  # keys that name a data set
DATASET_OWN = {"name", "names", "sha256", "images", "images_sha256", "calibration"}  # keys that describe it further


def with_files_found(config: dict, home: Path) -> dict:
    """A copy of the config in which each path that exists only below the folder `home` is replaced by the one there.

    Raises UserError, which lists them all, when files that the run needs are in neither place. This matters since
    Snakemake accepts existing outputs whose input is missing, and runs nothing.
    """
    config = copy.deepcopy(config)
    missing = _datasets_located(config["dataset"], home)
    swept = config.get("sweep", {}).get("model", config["models"])
    for name in config["models"].keys() & set(swept):
        for key in ("weights", "cfg"):
            missing += _none_here(config["models"][name], key, f"models.{name}", home)
    for block in (config["dataset"], *config["models"].values()):
        for key in {"archive", "weights", "cfg", "onnx"} & block.keys():
            block[key] = [
                source if is_url(source) or source == DRAWN else located(source, home) for source in block[key]
            ]
        if is_anchor_file(block):
            block["anchors"] = located(block["anchors"], home)
        if isinstance(block.get("names"), str):
            block["names"] = located(block["names"], home)
            if not Path(block["names"]).is_file():
                missing.append(f"names: there is no file {block['names']}; name one, or give a list")
    measured = located(config["verdict"]["measured"], home)
    if not Path(measured).is_file():
        missing.append(f"verdict.measured: there is no file {measured}; name one, or leave the key out")
    config["verdict"]["measured"] = measured
    refuse(missing)
    return config


def _datasets_located(dataset: dict, home: Path) -> list[str]:
    """Locate the paths of `dataset` and its `calibration`, in place; return one sentence per missing path."""
    missing = []
    for where, block in (("dataset", dataset), ("dataset.calibration", dataset.get("calibration") or {})):
        missing += _none_here(block, "archive", where, home)
        if where != "dataset" and "archive" in block:
            block["archive"] = [source if is_url(source) else located(source, home) for source in block["archive"]]
        # Where there is an `archive`, the paths are inside it.
        for key in DATASET_PATHS & block.keys() if "archive" not in block else ():
            if block[key] and not is_url(block[key]):
                block[key] = located(block[key], home)
                if not Path(block[key]).expanduser().exists():
                    missing.append(f"{where}.{key}: there is no file or folder {block[key]}")
    return missing


def _none_here(block: dict, key: str, where: str, home: Path) -> list[str]:
    """One sentence when no source under a key can be tried: none is a URL or an existing path."""
    sources = block.get(key) or []
    if not sources or any(
        is_url(source) or source == DRAWN or Path(located(source, home)).expanduser().exists() for source in sources
    ):
        return []
    return [f"{where}.{key}: there is no file or folder {' or '.join(sources)}"]


def own_dataset(given: dict, layers: list[dict]) -> dict:
    """The block `dataset` of a merged config without keys that belong to a data set that a later layer replaced.

    `layers` are the config files' contents in the order in which they are laid over each other; anything else in
    `given` comes from the command line. A data set that a file describes (`yaml`, …) drops the names, checksum and
    archive of the layers below; one that only names an `archive` keeps the names and the checksum below it.
    """
    merged, blocks = given.get("dataset"), [layer.get("dataset") for layer in layers]
    if not isinstance(merged, dict):
        return given
    below = {}
    for block in blocks:
        below |= block if isinstance(block, dict) else {}
    last = {key: value for key, value in merged.items() if key not in below or below[key] != value}
    for block in [last, *reversed(blocks)]:
        named = DATASET_KINDS & block.keys() if isinstance(block, dict) else set()
        alone = isinstance(block, dict) and "images" in block and not {*DATASET_FORMATS} & merged.keys()
        if alone and not named:
            named = {"images"}  # only a folder of images
        if block is not last and isinstance(block, dict):
            last = block | last
        if named:
            other = (DATASET_KINDS | DATASET_OWN) - last.keys() if named != {"archive"} else DATASET_KINDS - {*named}
            return given | {"dataset": {key: value for key, value in merged.items() if key not in other}}
    return given


def dataset_sources(dataset: dict) -> list[str]:
    """Where a data set comes from, given its block in the config; paths inside its archive are left out."""
    blocks = [dataset, dataset.get("calibration") or {}]
    sources = [source for block in blocks for source in block.get("archive") or []]
    for block in blocks:
        sources += [block[key] for key in sorted(DATASET_PATHS & block.keys()) if "archive" not in block]
        sources += [block["names"]] if isinstance(block.get("names"), str) else []
    return sources


def has_parts(dataset: dict) -> bool:
    """Whether a data set may have parts or its own calibration images, so that the pool is drawn when it is fetched."""
    if "calibration" in dataset:
        return True
    if "coco" in dataset:
        return not dataset["coco"].endswith(".json")
    return dataset.keys() & DATASET_KINDS != set()


def located(path: str, home: Path) -> str:
    """The path itself, or the one below the folder `home` where it exists only there (config/coco.names)."""
    return path if Path(path).expanduser().exists() or not (home / path).exists() else str(home / path)


def is_anchor_file(model: dict) -> bool:
    """Whether a model's block names a file that holds its anchors."""
    return str(model.get("anchors", "")).endswith((".yaml", ".yml"))


def model_sources(model: dict) -> list[str]:
    """Where the files of a model come from, given its block in the config."""
    names = model.get("names", [])
    return [
        *model.get("weights", []),
        *model.get("onnx", []),
        *model.get("cfg", []),
        *([model["anchors"]] if is_anchor_file(model) else []),
        *([names] if isinstance(names, str) else []),
    ]


def local_files(sources: list[str], drawn: str) -> list[str]:
    """The local ones of `sources`, which a step depends on: existing paths, and the run's own folder `drawn`."""
    paths = [drawn if source == DRAWN else source for source in sources if not is_url(source)]
    return [path for path in paths if path == drawn or Path(path).expanduser().exists()]

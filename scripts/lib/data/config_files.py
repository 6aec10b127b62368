"""The files that a config names: where they are, and which of them a step depends on."""

import copy
from pathlib import Path

from lib.data.sources import DRAWN, is_url
from lib.step.errors import UserError


def with_files_found(config: dict, home: Path) -> dict:
    """A copy of the config in which each path is as it is, or, where only the folder `home` holds it, below that one.

    Raises UserError, with all of them, when a file of class names or of measured times is in neither. Snakemake takes
    outputs whose input is missing as they are, and runs nothing.
    """
    config = copy.deepcopy(config)
    missing = []
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
    if missing:
        raise UserError("\n".join(["the config is not usable:", *(f"  {problem}" for problem in missing)]))
    return config


def located(path: str, home: Path) -> str:
    """A path as it is, or below `home` where only that folder holds it (config/coco.names)."""
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
    """Those of `sources` that are here, or that the run draws itself into the folder `drawn`: their changes count."""
    paths = [drawn if source == DRAWN else source for source in sources if not is_url(source)]
    return [path for path in paths if path == drawn or Path(path).expanduser().exists()]

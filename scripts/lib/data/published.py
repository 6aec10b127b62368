"""Published models by their names, and data sets by their addresses: what config/published.yaml knows of them."""

from pathlib import Path

import yaml

PUBLISHED = Path(__file__).resolve().parents[3] / "config" / "published.yaml"


def published() -> dict:
    """What the file lists: `models` by name, `datasets` by name, each a block of the config."""
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def with_published(merged: dict) -> dict:
    """A merged config in which models without any key are the published ones of that name.

    A data set from a published address gets the published checksum, unless the config has one of its own.
    """
    known = published()
    models, dataset = merged.get("models"), merged.get("dataset")
    if isinstance(models, dict):
        merged = merged | {"models": {name: block or known["models"].get(name, {}) for name, block in models.items()}}
    if isinstance(dataset, dict) and not dataset.get("sha256"):
        for block in known["datasets"].values():
            if dataset.get("archive") == block["archive"]:
                merged = merged | {"dataset": dataset | {"sha256": block["sha256"]}}
    return merged

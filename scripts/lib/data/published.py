"""Published models by name, and data sets by address, as config/published.yaml lists them."""

from pathlib import Path

import yaml

PUBLISHED = Path(__file__).resolve().parents[3] / "config" / "published.yaml"


def published() -> dict:
    """The file's contents: `models` and `datasets`, each by name, each entry a block of the config."""
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def with_published(merged: dict) -> dict:
    """A merged config in which each model without any key is replaced by the published one of that name.

    A data set from a published address gets the published checksum, unless the config gives one.
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

"""Makes the report's HTML."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.npu.verdict import REPORTED
from lib.results.columns import LAYER_COLUMNS, LIMITS, MISSING
from lib.results.report.page import Page
from lib.results.table import BY_NAME

HERE = Path(__file__).parent
FEW = 3  # a list of at most so many variants is not folded


# The columns of the layers' table, in the page's order.
LAYER_ORDER = ("layer", "type", "single_cos", "entire_cos", "single_euc", "entire_euc")


def render(page: Page) -> str:
    """The page's HTML, with style and script inside; every text from the run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        vars(page),
        missing=MISSING,
        label={name: column.label for name, column in BY_NAME.items()},
        layer_columns=sorted(LAYER_COLUMNS, key=lambda column: LAYER_ORDER.index(column.name)),
        reported=REPORTED,
        few=FEW,
        limits_of=LIMITS,
        style=(HERE / "page.css").read_text(),
        script=(HERE / "page.js").read_text(),
        config_base64=base64.b64encode(page.config.encode()).decode(),
    )

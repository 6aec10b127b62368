"""From what the report shows to its HTML."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.npu.verdict import REPORTED
from lib.results.report.rows import MISSING

HERE = Path(__file__).parent
FEW = 3  # variants that are listed unfolded


def render(shown: dict) -> str:
    """The page, with its style and script in it; every text from the run is escaped.

    `shown`: as `lib.results.report.contents.contents` gives it.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        shown,
        missing=MISSING,
        reported=REPORTED,
        few=FEW,
        style=(HERE / "page.css").read_text(),
        script=(HERE / "page.js").read_text(),
        config_base64=base64.b64encode(shown["config"].encode()).decode(),
    )

"""The C of docs/decoder.md compiles with a bundle's headers, as its reader copies it."""

import re
from dataclasses import replace

import pytest
from c_library import cc
from conftest import ROOT
from random_models import KINDS, random_case
from test_classify_decoder import classifier_case
from test_obb_decoder import obb_case
from test_pose_decoder import pose_case

from lib.bundle.model_h import model_h
from lib.detector.families.dfl import Dfl
from lib.results.sweep import Variant

BLOCKS = re.findall(r"^```c\n(.*?)^```", (ROOT / "docs" / "decoder.md").read_text(encoding="utf-8"), re.M | re.S)
# What the page's code uses and does not declare.
PROGRAM = """#include <stdio.h>
{includes}
const int8_t *buffers[32];
size_t sizes[32];
rv1106_letterbox fit;
rv1106_decoder decoder, decoders[2];
rv1106_candidate candidates[1000];
rv1106_detection detections[100];
int n, i;

int main(void)
{{
{code}    return 0;
}}
"""


def block_with(text: str) -> str:
    """The one block of the page that holds a text."""
    [block] = [block for block in BLOCKS if text in block]
    return block


def compiled(folder, includes: str, code: str) -> None:
    (folder / "page.c").write_text(PROGRAM.format(includes=includes, code=code))
    cc("-fsyntax-only", f"-I{folder}", folder / "page.c")


@pytest.mark.parametrize(
    ("text", "case_of"),
    [
        ("least[]", random_case),
        ("rv1106_keypoint ", pose_case),
        ("rv1106_rotated ", obb_case),
        ("rv1106_class ", classifier_case),
    ],
)
def test_code_for_one_model_compiles(tmp_path, text, case_of):
    (tmp_path / "model.h").write_text(model_h(case_of(0).contract("mine")))
    compiled(tmp_path, '#include "decode.h"\n#include "model.h"', block_with(text))


def test_code_for_two_models_compiles(tmp_path):
    variants = {"day": Variant("yolov8n", "320", "split", "normal", 64)}
    variants["night"] = Variant("night", "416x256", "single", "normal", 64)
    for folder, variant in variants.items():
        (tmp_path / folder).mkdir()
        contract = replace(random_case(KINDS.index((Dfl, variant.head))).contract("any"), variant=variant)
        (tmp_path / folder / "model.h").write_text(model_h(contract))
    includes, code = block_with("night/model.h").split("\n\n", 1)
    compiled(tmp_path, includes, code)
    assert len(BLOCKS) == 5

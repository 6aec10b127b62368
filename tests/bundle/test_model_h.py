"""model.h has unique names, so that one C program can contain several models; class names are unchanged in C."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from random_models import KINDS, Case, random_case

from lib import tasks
from lib.bundle import DECODER, HERE, golden, headers, program
from lib.bundle.c_names import c_prefix
from lib.bundle.contract import Contract
from lib.bundle.model_h import model_h
from lib.bundle.same_detections import demand_same
from lib.data.imgsz import ImageSize
from lib.data.letterbox import fit_of
from lib.detector.families import Family
from lib.detector.families.anchors import Anchors
from lib.detector.families.dfl import Dfl
from lib.detector.families.distances import Distances
from lib.detector.head import SINGLE, SPLIT
from lib.detector.output_spec import OutputSpec
from lib.npu.rknn_file import RknnTensor
from lib.results.sweep import Variant
from lib.results.sweep import variants as variants_of

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler (cc)")
SOURCE = (300, 200)
# Two programs' worth of names that C does not take as they are, or that would be one name in C.
NAMES = ("parts4", "Parts4", "a-b", "a.b", "a_b", "a__b", "a_b_", "3d", "m3d", "int", "INT", "_x", "x", "-", ".",
         "yolo-fastest-1.1", "yolo_fastest_1_1", "rv1106_model", "RV1106", "x_320_split_normal_8")  # fmt: skip
PROGRAM = """
#include <stdio.h>
{includes}
#ifdef RV1106_MODEL
#error "RV1106_MODEL is one of several models"
#endif

static rv1106_candidate candidates[30000];
static rv1106_detection detections[300];
static int8_t memory[1 << 22];

static int detect(const rv1106_model *model, const char *const names[], float confidence, float iou, int count)
{{
    static rv1106_decoder decoder;
    const int8_t *buffers[RV1106_MAX_OUTPUTS];
    size_t sizes[RV1106_MAX_OUTPUTS], used = 0;
    const rv1106_letterbox fit = rv1106_fit(model, {width}, {height});
    char path[64];
    int i;
    for (i = 0; i < model->output_count; i++) {{
        FILE *file;
        snprintf(path, sizeof path, "%d/output_%d.bin", count, i);
        if (!(file = fopen(path, "rb"))) return 2;
        buffers[i] = memory + used;
        used += sizes[i] = fread(memory + used, 1, sizeof memory - used, file);
        fclose(file);
    }}
    if (rv1106_init(&decoder, model)) return 3;
    count = rv1106_decode(&decoder, buffers, sizes, confidence, iou, &fit, candidates, 30000, detections, 300);
    for (i = 0; i < count; i++)
        printf("%d %.6f %.4f %.4f %.4f %.4f %s\\n", detections[i].class_id, detections[i].score, detections[i].x1,
               detections[i].y1, detections[i].x2, detections[i].y2, names[detections[i].class_id]);
    puts("end");
    return count < 0;
}}

int main(void)
{{
    return {calls};
}}
"""


def bundle(folder, contract: Contract) -> None:
    """The C files of a bundle."""
    folder.mkdir()
    for name in (*headers(contract.output_spec()), DECODER):
        shutil.copy(HERE / name, folder)
    (folder / "model.h").write_text(model_h(contract))


def case_of(family: type[Family], head: str) -> Case:
    """A random model with detections, some of which NMS drops."""
    return random_case(KINDS.index((family, head)) + 2 * len(KINDS))


def compiled(folder, source: str, *flags: str, language: str = "c") -> subprocess.CompletedProcess:
    (folder / "program.c").write_text(source)
    command = ["cc", *flags, "-x", language, "program.c", "-o", "program"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    "models", [((Dfl, SINGLE), (Dfl, SPLIT)), ((Anchors, SPLIT), (Distances, SPLIT), (Dfl, SINGLE))]
)
def test_one_program_holds_several_models(tmp_path, models):
    cases = [case_of(*kind) for kind in models]
    contracts = [case.contract("my-model" if number else "3d.cam") for number, case in enumerate(cases)]
    calls = []
    for number, (case, contract) in enumerate(zip(cases, contracts)):
        bundle(tmp_path / str(number), contract)
        golden.write_outputs(tmp_path / str(number), case.tensors, case.floats(), fit_of(SOURCE, contract.input.imgsz))
        prefix = c_prefix(contract.variant)
        macros = f"{prefix.upper()}_CONFIDENCE, {prefix.upper()}_IOU"
        calls.append(f"detect(&{prefix}, {prefix}_names, {macros}, {number})")
    includes = "\n".join(f'#include "{number}/model.h"' for number in range(len(cases)))
    source = PROGRAM.format(includes=includes, width=SOURCE[0], height=SOURCE[1], calls=" || ".join(calls))
    done = compiled(tmp_path, source, *program.FLAGS, "-Wpedantic")
    assert done.returncode == 0, done.stderr
    printed = subprocess.run("./program", cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    for case, contract, text in zip(cases, contracts, printed.split("end\n")):
        suggested = contract.thresholds
        expected = tasks.get(tasks.DEFAULT).instances(
            case.spec, case.floats(), fit_of(SOURCE, contract.input.imgsz), suggested.confidence, suggested.iou
        )
        assert len(expected) > 3
        demand_same(expected, program.read_detections(text))
        assert re.findall(r"(class \d+)$", text, re.M) == [contract.classes[number] for number in expected.classes]


def test_two_models_with_one_name_do_not_compile(tmp_path):
    for number, kind in enumerate((0, len(KINDS))):
        case = random_case(kind)
        contract = case.contract("mine")
        bundle(tmp_path / str(number), contract)
        text = (tmp_path / str(number) / "model.h").read_text()
        # Of one size, but not of the same outputs.
        (tmp_path / str(number) / "model.h").write_text(text.replace(c_prefix(contract.variant).upper(), "MINE"))
    includes = '#include "0/model.h"\n#include "{}/model.h"\nint main(void) {{ return 0; }}\n'
    assert compiled(tmp_path, includes.format(0)).returncode == 0
    refused = compiled(tmp_path, includes.format(1))
    assert refused.returncode != 0 and "two different models have the name mine" in refused.stderr


def test_every_model_has_a_unique_c_name(tmp_path):
    variants = variants_of(NAMES, ("320", "416x256"), ("single", "split"), ("normal", "kl_divergence"), (8, 16))
    prefixes = [c_prefix(variant) for variant in variants]
    for prefix in prefixes:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", prefix)
    # Not even in capitals, as macros are, nor with what model.h puts behind.
    ends = ("", "_names", "_details", "_h", "_iou", "_most", "_bytes", "_input_bytes", "_toolkit", "_confidence")
    names = [prefix + end for prefix in prefixes for end in ends]
    assert len({name.upper() for name in names}) == len(names)
    assert "parts4_320_split_normal_8" in prefixes
    # One's own name with another's six digits is not the other.
    taken = c_prefix(Variant("a-b", "320", "split", "normal", 8)).removesuffix("_320_split_normal_8")
    assert c_prefix(Variant(taken, "320", "split", "normal", 8)) not in prefixes
    declared = "".join(f"#define {prefix.upper()}_H\nstatic int {prefix} = 1;\n" for prefix in prefixes)
    for language in ("c", "c++"):
        done = compiled(tmp_path, f"{declared}int main(void) {{ return 0; }}\n", "-Werror", language=language)
        assert done.returncode == 0 or "cannot execute" in done.stderr, done.stderr


def test_class_names_are_unchanged_in_c(tmp_path):
    names = ['say "hi"', "back\\slash", "what??/", "schön", "%d", "1\N{SNOWMAN}2", "*/"]
    tensor = RknnTensor("out*/put", (1, 4 + len(names), 21, 1), (1, 1, 21, 1, 16), "int8", 0.25, -128)
    spec = OutputSpec(ImageSize(32, 32), SINGLE, Dfl(), len(names))
    contract = Case(spec, [tensor], []).contract("names", names)
    bundle(tmp_path / "bundle", contract)
    program.build(tmp_path / "bundle", program.compiler(), tmp_path / "decode")
    (tmp_path / "image.txt").write_text("32 32\n")
    stored = np.full((21, 16), -128, np.int8)
    stored[0, 4 : 4 + len(names)] = np.arange(100, 100 - len(names), -1)
    (tmp_path / "output_0.bin").write_bytes(stored.tobytes())
    printed = subprocess.run([tmp_path / "decode", tmp_path], check=True, capture_output=True).stdout.decode()
    assert [line.split(" ", 6)[6] for line in printed.splitlines()] == names

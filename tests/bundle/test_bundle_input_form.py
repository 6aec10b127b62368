"""A bundle describes the input that its model expects, and its golden files have that form."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from conftest import image
from random_models import random_case

from lib.board.lines import write_stream
from lib.bundle import HERE, golden
from lib.bundle.contract import CONTRACT, Contract, Proof
from lib.bundle.describe import Forms, Measured, describe
from lib.bundle.model_h import model_h
from lib.bundle.readme import readme
from lib.data.images import write_image
from lib.data.input_form import InputForm
from lib.data.letterbox import fit_of, letterbox
from lib.npu.rknn_file import RknnFile, RknnTensor
from lib.step.errors import UserError

FORMS = {
    "plain": InputForm(),
    "yolox": InputForm(channels="bgr", scale=1, letterbox="top_left"),
    "grey": InputForm(channels="grey", fill=0),
    "stretched": InputForm(letterbox="stretch"),
    "cropped": InputForm(letterbox="crop"),
}


def contract_of(form: InputForm) -> Contract:
    case = random_case(0)
    plain = case.contract("m")
    size, depth = case.spec.imgsz, form.depth
    pixels = RknnTensor("images", (1, depth, *size[::-1]), (1, 1, *size[::-1], depth), "int8", 1 / 255, -128)
    rknn = RknnFile(pixels, tuple(case.tensors), form.pixel_mean, form.pixel_std, "2.3.2", "rv1106")
    names = list(plain.classes)
    return describe(rknn, plain.variant, Forms(case.spec, form), names, Measured(plain.accuracy), plain.verdict)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_contract_stores_the_input_form(tmp_path, form):
    contract_of(form).write(tmp_path / CONTRACT)
    given = Contract.of_bundle(tmp_path).input
    same_bytes = (given.form.channels, given.form.letterbox, given.form.fill)
    assert same_bytes == (form.channels, form.letterbox, form.fill)
    assert (given.form.pixel_mean, given.form.pixel_std) == (form.pixel_mean, form.pixel_std)
    assert given.shape[3] == form.depth and given.colour_order == form.channels.upper()
    assert ("place" in json.loads((tmp_path / CONTRACT).read_text())["input"]["letterbox"]) == (
        form.letterbox != "centre"
    )
    expected, fit = letterbox(image(1), given.imgsz, form)
    write_image(tmp_path / "a.png", image(1))
    assert write_stream([tmp_path / "a.png"], given, tmp_path / "stream") == {"a.png": (90, 70)}
    assert (tmp_path / "stream").read_bytes() == b"90 70 a.png\n" + expected.tobytes()
    (tmp_path / "image.txt").write_text("90 70\n")
    assert golden.read_fit(tmp_path, given) == fit == fit_of((90, 70), given.imgsz, form)


def test_a_contract_whose_shape_contradicts_its_channels_is_refused(tmp_path):
    value = contract_of(FORMS["grey"]).to_json()
    value["input"]["colour_order"] = "BGR"
    (tmp_path / CONTRACT).write_text(json.dumps(value))
    with pytest.raises(UserError, match="does not fit BGR"):
        Contract.of_bundle(tmp_path)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_c_letterboxes_an_image_as_the_model_expects(tmp_path, form):
    contract = contract_of(form)
    (tmp_path / "model.h").write_text(model_h(contract))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void) {\n'
        "    rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, 300, 200);\n"
        '    printf("%d %d %.17g %.17g %d", fit.left, fit.top, fit.scale, fit.scale_y, RV1106_MODEL_INPUT_BYTES);\n'
        "    return (int)sizeof RV1106_MODEL_NAMES[0] < 0;\n}\n"
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{HERE}"]
    subprocess.run(["cc", *flags, "main.c", "-o", "fit"], cwd=tmp_path, check=True)
    printed = subprocess.run("./fit", cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    fit = fit_of((300, 200), contract.input.imgsz, form)
    assert list(map(float, printed.split())) == [
        fit.left, fit.top, fit.scale, fit.scale_y or 0, np.prod(contract.input.shape)
    ]  # fmt: skip


def test_the_readme_describes_the_input():
    def text(name):
        return readme(replace(contract_of(FORMS[name]), proof=Proof(1, 1, 0.0, 0.0, 0.5)))

    assert "pixels, RGB, uint8" in text("plain") and "`fit.scale`; the rest of the input is grey, 114." in text("plain")
    assert "pixels, BGR, uint8" in text("yolox") and "RGB instead of BGR" in text("yolox")
    assert "one channel of grey" in text("grey") and "grey, 0." in text("grey")
    assert "`fit.scale_y` down" in text("stretched")

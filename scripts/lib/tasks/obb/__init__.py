"""Oriented boxes: rectangles at an angle."""

from lib import tasks
from lib.data.formats.lines import corner_line
from lib.tasks.obb.contract import contract_lines
from lib.tasks.obb.decoding import found, keep, predict
from lib.tasks.obb.drawing import draw, outlines
from lib.tasks.obb.in_bundle import bundle_part
from lib.tasks.obb.labels import check_label, read_label
from lib.tasks.obb.overlap import overlap, share_inside
from lib.tasks.task import Task

tasks.register(
    Task(
        name="obb",
        c_header="obb.h",
        check_label=check_label,
        read_label=read_label,
        overlap=overlap,
        coco_iou_type=None,  # the library has none for rotated boxes
        draw=draw,
        outlines=outlines,
        contract_lines=contract_lines,
        line_of=corner_line,
        objects="rotated boxes",
        overlap_name="IoU of rotated boxes",
        share_inside=share_inside,
        predict=predict,
        keep=keep,
        found=found,
        bundle=bundle_part,
    )
)

"""Pose: boxes, and for each object K keypoints with x, y and visibility."""

from lib import tasks
from lib.data.formats.keypoint_rows import with_three_values
from lib.data.formats.lines import keypoint_line
from lib.tasks.pose.contract import contract_lines
from lib.tasks.pose.drawing import draw, outlines
from lib.tasks.pose.in_bundle import bundle_part
from lib.tasks.pose.keypoints import found, predict
from lib.tasks.pose.labels import check_label, read_label
from lib.tasks.pose.overlap import MOST_COUNTED, coco_fields, overlap
from lib.tasks.task import Task

tasks.register(
    Task(
        name="pose",
        c_header="pose.h",
        check_label=check_label,
        read_label=read_label,
        overlap=overlap,
        coco_iou_type="keypoints",
        coco_fields=coco_fields,
        share_inside=overlap,
        most_counted=MOST_COUNTED,
        draw=draw,
        outlines=outlines,
        objects="keypoints",
        overlap_name="OKS",
        line_of=keypoint_line,
        words_of=with_three_values,
        contract_lines=contract_lines,
        predict=predict,
        found=found,
        bundle=bundle_part,
    )
)

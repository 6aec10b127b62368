"""Instance segmentation: boxes, and for each the mask of its object at the image's size."""

from lib import tasks
from lib.data.formats.lines import outline_line
from lib.tasks.segment.contract import contract_lines
from lib.tasks.segment.decoding import found, predict
from lib.tasks.segment.drawing import draw, outlines
from lib.tasks.segment.in_bundle import bundle_part
from lib.tasks.segment.labels import check_label, read_label
from lib.tasks.segment.masks import MASK, as_coco, overlap, share_inside
from lib.tasks.task import Task

tasks.register(
    Task(
        name="segment",
        c_header="segment.h",
        check_label=check_label,
        read_label=read_label,
        overlap=overlap,
        share_inside=share_inside,
        coco_iou_type="segm",
        coco_fields=lambda found, size: [{"segmentation": coco} for coco in as_coco(found.extras[MASK], size)],
        draw=draw,
        outlines=outlines,
        objects="masks",
        overlap_name="IoU of masks",
        line_of=outline_line,
        contract_lines=contract_lines,
        predict=predict,
        found=found,
        bundle=bundle_part,
    )
)

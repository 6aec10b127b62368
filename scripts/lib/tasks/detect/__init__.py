"""Detection: only boxes with class and score."""

from lib import tasks
from lib.detector.head import HEADS
from lib.tasks.detect.contract import contract_lines
from lib.tasks.detect.drawing import draw
from lib.tasks.detect.labels import check_label, read_label
from lib.tasks.detect.overlap import overlap
from lib.tasks.task import Task

tasks.register(
    Task(
        name="detect",
        c_header="decode.h",
        check_label=check_label,
        read_label=read_label,
        overlap=overlap,
        coco_iou_type="bbox",
        draw=draw,
        contract_lines=contract_lines,
        heads=HEADS,
    )
)

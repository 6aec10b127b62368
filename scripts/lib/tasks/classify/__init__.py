"""Classification: one class for a whole image; the outputs are not decoded, and accuracy is top-1 and top-5."""

from lib import tasks
from lib.detector.head import AS_IS, CLASSIFY
from lib.tasks.classify.decoding import BEST, found, keep, predict
from lib.tasks.classify.in_bundle import bundle_part, contract_lines
from lib.tasks.classify.labels import check_label, read_label
from lib.tasks.detect.drawing import draw
from lib.tasks.detect.overlap import overlap
from lib.tasks.task import Task

tasks.register(
    Task(
        name=CLASSIFY,
        c_header="classify.h",
        check_label=check_label,
        read_label=read_label,
        overlap=overlap,
        coco_iou_type=None,
        draw=draw,
        contract_lines=contract_lines,
        objects="classes",
        heads=(AS_IS,),
        predict=predict,
        keep=keep,
        found=found,
        confidence=0.0,
        most=BEST,
        bundle=bundle_part,
    )
)

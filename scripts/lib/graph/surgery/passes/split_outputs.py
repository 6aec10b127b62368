"""One set of outputs per stride, cut right after the last convolutions; the boxes are decoded outside.

Conv ─ box map   ─ Reshape ─ Concat ─ DFL? ─ …          Conv ─ box_S                 [1, 4*R, H/S, W/S] or [1, 4, …]
                                                →
Conv ─ class map ─ Reshape ─ Concat ─ Sigmoid ─ …       Conv ─ Sigmoid ─ scores_S    [1, C, H/S, W/S]
Conv ─ task's map ─ Reshape ─ Concat ─ …                Conv ─ ROLE_S                [1, K, H/S, W/S]

Box maps have R bins of a DFL, or the four distances. The nodes with which an end-to-end head selects its best
predictions (TopK, Gather …) are dropped with the decoding. A task's maps: lib.graph.tasks.
"""

from lib.detector.head import SPLIT
from lib.graph import tasks
from lib.graph.surgery.detector import find_detector
from lib.graph.surgery.graph import Graph
from lib.graph.surgery.output_form import OutputForm
from lib.graph.surgery.passes import Pass, always


def rewrite(graph: Graph, form: OutputForm) -> None:
    """Make box_8, scores_8, box_16, scores_16, box_32, scores_32 the outputs, followed by the task's maps."""
    detector = find_detector(graph)
    outputs = {}
    if form.spec.extras:
        tasks.cut(graph, detector, form.spec.family, form.spec.task)
    for stride, box, scores in zip(form.spec.family.strides, detector.box_maps, detector.class_maps, strict=True):
        outputs[graph.rename(box, f"box_{stride}")] = graph.shape(box)
        outputs[graph.add("Sigmoid", [scores], f"scores_{stride}")] = graph.shape(scores)
    graph.set_outputs(outputs | {output.name: output.shape(form.spec.imgsz) for output in form.spec.extras})


def changed(form: OutputForm) -> OutputForm:
    """The head is `split`."""
    return form.with_head(SPLIT, sigmoid=True, transposed=False, names=None)


PASS = Pass("split_outputs", always, rewrite, changed)

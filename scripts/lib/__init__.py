"""What the steps share, a package a domain. A package imports only from itself and those above it in this list.

step      arguments, errors, logs, whole files, the form of the config
data      downloads, data sets, labels, letterbox, image sizes, drawn scenes
detector  families and their decoding, heads, instances, NMS
tasks     what belongs to a box besides: labels, overlap, drawing, a folder a task
npu       rknn-toolkit2: adapter, build log, verdict, the `.rknn` file, layer errors
graph     ONNX: export, files, sessions, families, Darknet, surgery
accuracy  many images through a model, detections on disk, average precision and its uncertainty
convert   one ONNX to its `.rknn` in one process, and the largest size that runs
results   sweep, table, choice, plots, report
bundle    the C decoder, its contract and its proof
board     a bundle on a board: run, results fetched, compared with the simulator
"""

from lib.step.interrupts import interrupts_end
from lib.step.memory import demand_memory

# Here, since a step imports it first of all.
interrupts_end()
demand_memory()

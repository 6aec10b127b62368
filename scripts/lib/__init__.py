"""What the steps share, a package a domain. A package imports only from itself and those above it in this list.

step      arguments, errors, logs, whole files, the form of the config
data      downloads, data sets, labels, letterbox, image sizes, drawn scenes
detector  families and their decoding, heads, instances, NMS
graph     ONNX: export, files, sessions, families, Darknet, surgery
npu       rknn-toolkit2: adapter, build log, verdict, the `.rknn` file, layer errors
accuracy  many images through a model, detections on disk, average precision and its uncertainty
results   sweep, table, choice, plots, report
bundle    the C decoder, its contract and its proof
"""

from lib.step.memory import demand_memory

# Here, since a step imports it first of all.
demand_memory()

"""onnxruntime as every step runs it: on the CPU, on one thread, silent but for errors."""

from collections.abc import Mapping
from types import MappingProxyType

import onnxruntime

Level = onnxruntime.GraphOptimizationLevel
NOTHING: Mapping[str, str] = MappingProxyType({})


def session_on_one_thread(
    model: bytes | str, level: Level = Level.ORT_ENABLE_ALL, entries: Mapping[str, str] = NOTHING
) -> onnxruntime.InferenceSession:
    """A session for serialized bytes or a path. Raises what onnxruntime raises when it refuses the model.

    level: what onnxruntime may make of the graph before it runs. entries: of its configuration, by their keys.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

"""A twin of the toolkit's simulator: a graph for onnxruntime that computes what an INT8 model computes there.

  structure  what the toolkit made of a model: its fused operators, and the range of each tensor
  rounding   how ranges become scales, and what becomes of values, weights and biases
  graph      the twin of a structure, as an ONNX
  run        running it
  layers     comparing it with the simulator's own dumps, a layer at a time

Everything here was found from the simulator's dumps (`accuracy_analysis`), not from its source;
docs/int8_accuracy.md has the measurements. Only `algorithm: normal` is known.
"""

"""A twin of the toolkit's simulator: a graph for onnxruntime that computes what an INT8 model computes there.

  structure  what the toolkit made of a model: its fused operators, and the range of each tensor
  rounding   how ranges become scales, and what becomes of values, weights and biases
  graph      the twin of a structure, as an ONNX
  chip       the same with the roundings of the chip, by a published account
  run        running them
  agreement  comparing their outputs with the simulator's
  ranges     the ranges on an image, without the toolkit

Everything else here was found from the simulator's dumps (`accuracy_analysis`), not from its source;
docs/int8_accuracy.md has the measurements. Only `algorithm: normal` is known.
"""

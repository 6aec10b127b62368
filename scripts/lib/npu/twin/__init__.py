"""A twin of the toolkit's simulator: a graph for onnxruntime that computes what the simulator computes in INT8.

  structure  what the toolkit made of a model: its fused operators, and the range of each tensor
  rounding   how ranges become scales, and how values, weights and biases are rounded
  graph      the twin of a structure, as an ONNX
  chip       the same with the chip's roundings, by a published description
  run        running twins
  agreement  comparing their outputs with the simulator's
  ranges     the ranges on an image, without the toolkit

Everything else here was found from the simulator's dumps (`accuracy_analysis`), not from its source;
docs/twin.md has the measurements. Only `algorithm: normal` is known.
"""

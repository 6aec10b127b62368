"""Chooses ranges by their effect on a model's outputs: `algorithm: search`.

  difference  how far outputs are from FP32's, where it matters
  rerun       a model in FP32, run again from any tensor on
  choice      the ranges of a model

The toolkit's `normal` takes the smallest and the largest value of each tensor. One outlier then makes the steps of a
whole feature map coarse. Here each tensor is rounded alone, in a model that is otherwise FP32, with its range drawn in
step by step, and the range is taken that changes the outputs least.
"""

# Calibration images: half of them set ranges, some of the others judge.
FEWEST = 4

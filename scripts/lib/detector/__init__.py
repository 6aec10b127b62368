"""The maths of a detector in NumPy: heads and their decoding, anchors, NMS."""

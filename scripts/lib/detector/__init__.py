"""The maths of a detector in NumPy: families and their decoding, heads, instances, NMS."""

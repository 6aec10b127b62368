"""Graph surgery: turns an exported detector into one whose outputs an INT8-only NPU can represent.

`pipeline` runs the passes that a model's family needs, and `proof` proves each of them. A pass is a file in `passes`.
"""

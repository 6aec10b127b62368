"""Graph surgery: from an exported detector to one whose outputs an INT8-only NPU can carry.

`pipeline` runs the passes that a model's family takes, and has each proven by `proof`. A pass is a file in `passes`.
"""

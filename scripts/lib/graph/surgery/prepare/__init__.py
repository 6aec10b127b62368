"""Prepares a graph for being recognized: one file per kind of change, each proven when it is applied.

`fix_size` (lib.graph.surgery.fixed_size) prepares the input, `prepare.behind_input` what follows it.
"""

"""A graph as it came, made ready to be recognized: a file for each kind of work, proven as it is done.

`fix_size` (lib.graph.surgery.fixed_size) prepares its input; `prepare.behind_input` what lies behind it.
"""

"""Roles of the task's maps in the head `split`, one channel per stride; a model has maps of only one role."""

ANGLE = "angle"  # radians (YOLO26)
TURN = "turn"  # after a sigmoid, so 0 to 1; the angle is (turn - 0.25) * pi (YOLOv8, 11)

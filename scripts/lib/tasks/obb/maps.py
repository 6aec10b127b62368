"""The maps of the task in the head `split`, one channel for each stride; a model has those of one role."""

ANGLE = "angle"  # radians (YOLO26)
TURN = "turn"  # after a sigmoid, so that it goes from 0 to 1; the angle is (turn - 0.25) * pi (YOLOv8, 11)

"""The board in the loop: compiles a bundle's program, copies it to the board and runs it; detections and times."""

"""The board in the loop: a bundle's program compiled, put there and run; its detections and how long it took."""

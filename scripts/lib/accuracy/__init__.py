"""Many images through a model, detections on disk, average precision and its uncertainty."""

"""Inference on many images, detections on disk, average precision and its uncertainty."""

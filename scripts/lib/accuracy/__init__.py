"""Many images through a model, and average precision."""

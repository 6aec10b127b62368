"""A folder for each task: what belongs to an instance besides its box, from labels to the C header."""

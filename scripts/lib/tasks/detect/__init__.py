"""Detection: boxes with class and score, nothing besides."""

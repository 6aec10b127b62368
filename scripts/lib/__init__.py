"""What the steps share, by domain."""

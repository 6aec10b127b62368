"""Tests on a real board: compiles a bundle's program, copies it there, runs it, and reads detections and times."""

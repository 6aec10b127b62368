"""The report of a run: one HTML file that needs only a browser."""

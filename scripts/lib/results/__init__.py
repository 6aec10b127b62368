"""The results of a run: variants of a sweep, the table, the choice among them, plots, the report."""

"""What comes out: variants of a sweep, the table, the choice among them, plots, the report."""

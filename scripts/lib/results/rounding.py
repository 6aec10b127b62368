"""How many digits a figure is shown with; for a table's columns see lib.results.columns."""

MAP_DIGITS = 4

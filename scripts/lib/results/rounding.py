"""How many digits a figure has where people read it; those of a table's column stand in lib.results.columns."""

MAP_DIGITS = 4

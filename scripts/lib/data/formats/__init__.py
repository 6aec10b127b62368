"""Formats of data sets, one file per format: each finds its file or folder in a zip and reads its images and labels.

A file here with a `KEY` is registered automatically (lib.data.formats.registry). KEY is the format's name in the
config's `dataset`. `find(root, hints)` gives the file or folder to read in a folder or unpacked zip; `read(place,
hints)` reads it into a `Source`. Both raise UserError.
"""

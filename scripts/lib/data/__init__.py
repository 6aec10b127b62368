"""The inputs of a run: downloads, data sets, labels, the split, image sizes, letterbox, drawn scenes."""

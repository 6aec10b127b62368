"""What goes in: downloads, data sets, labels, the split, image sizes, letterbox, drawn scenes."""

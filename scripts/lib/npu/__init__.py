"""rknn-toolkit2 and its results: adapter, build log, verdict, the `.rknn` file, layer errors."""

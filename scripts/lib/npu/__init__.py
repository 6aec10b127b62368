"""What rknn-toolkit2 makes and says: its adapter, the build log, the verdict, the `.rknn` file, layer errors."""

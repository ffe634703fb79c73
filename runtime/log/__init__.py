"""What containers have written: the format on disk, its one writer (the keeper), and the reader."""

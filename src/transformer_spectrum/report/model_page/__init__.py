"""What `analyze` prints and writes of a checkpoint."""

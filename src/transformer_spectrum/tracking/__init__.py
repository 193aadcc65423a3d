"""What a training reports while it runs; the only importer of DVCLive and MLflow."""

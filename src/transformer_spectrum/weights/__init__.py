"""What a weight matrix is: where it lies in a model or a file, and its singular values."""

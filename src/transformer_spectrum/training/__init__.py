"""One training, from windows to weights, history and scores."""

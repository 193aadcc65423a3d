"""Optimizers that follow the gradient."""

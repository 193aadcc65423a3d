"""Matrices of a model, and their singular values."""

"""Optimizers behind one contract."""

"""Forecasters: transformer and LSTM."""

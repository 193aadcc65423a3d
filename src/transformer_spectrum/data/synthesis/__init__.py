"""Synthetic series: skewed generalized t noise, smoothed."""

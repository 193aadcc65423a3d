"""Series, and how the raw data of each data set become series."""

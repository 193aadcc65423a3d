"""The page of one run, and its short form for comments."""

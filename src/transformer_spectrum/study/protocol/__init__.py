"""What a study is going to measure, written down before it is looked at."""

"""What each figure says and where it ends: title, words, notes and limits, for pictures, pages and dvc plots."""

"""What a run came to, in words and pictures: figures, pages, and the plots of DVC."""

"""What a training leaves behind: its history, its weights at tracked steps, its folder."""

"""What all pages share: the frame, small plots, Vega, and the caption of a run."""

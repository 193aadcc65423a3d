"""The colours of pictures and pages, apart from `style` so that what draws no picture need not load matplotlib."""

from __future__ import annotations

# Okabe & Ito (2008): told apart under every common colour blindness.
COLOURS = {"adam": "#0072B2", "es": "#D55E00", "ga": "#009E73"}
NULL_COLOUR = "#6b6b6b"
TRUTH_COLOUR = "#222222"
WARNING_COLOUR = "#c00000"

"""What trainings are compared by: names of metrics, and what stands before them."""

from __future__ import annotations

CHANGE, LOGARITHM = "change_", "log_"
"""Before the name of a metric: of W_t - W_0 instead of W_t; its natural logarithm."""
MAIN_METRIC, SECOND_METRIC = f"{CHANGE}stable_rank", "stable_rank"
"""The metrics of the answer: in how many directions a change acts, and the matrices after it."""
METRICS_COMPARED = (MAIN_METRIC, SECOND_METRIC)

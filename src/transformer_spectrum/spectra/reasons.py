"""Why an estimator has no value, where several of them say the same."""

COMPUTED = ""
"""It has one."""
SHORT_TAIL = "fewer positive eigenvalues than the tail needs"
CONSTANT_TAIL = "all eigenvalues of the tail are equal"

"""What has types and shapes checked in all other tests does check them."""

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError
from shape_checker import CALLS, calls, check, checked_at_first

from transformer_spectrum.spectra.metrics import stable_rank


@checked_at_first(typechecker=check)
def product(
    left: Float[np.ndarray, "rows inner"], right: Float[np.ndarray, "inner columns"], *, wrong: bool = False
) -> Float[np.ndarray, "rows columns"]:
    return left if wrong else left @ right


def test_parameters_must_have_the_type_the_axes_and_one_size_for_one_name():
    assert product(np.ones((2, 3)), np.ones((3, 4))).shape == (2, 4)
    for left in (np.ones((2, 3), int), np.ones(3), np.ones((2, 5)), "left"):
        with pytest.raises(TypeCheckError, match="parameters"):
            product(left, np.ones((3, 4)))
    with pytest.raises(TypeCheckError, match="parameters"):
        product(np.ones((2, 3)), np.ones((3, 4)), wrong=0)


def test_what_is_returned_must_have_the_sizes_that_the_parameters_had():
    with pytest.raises(TypeCheckError, match="return value"):
        product(np.ones((2, 3)), np.ones((3, 4)), wrong=True)


def test_many_calls_of_one_function_are_checked_at_first_and_in_the_next_test_again():
    for _ in range(CALLS):
        product(np.ones((2, 3)), np.ones((3, 4)))
    assert product(np.ones(3), np.ones((3, 4))).shape == (4,)
    calls.clear()
    with pytest.raises(TypeCheckError):
        product(np.ones(3), np.ones((3, 4)))


def test_the_core_is_checked():
    with pytest.raises(TypeCheckError, match="parameters"):
        stable_rank("no spectrum")

"""What has types and shapes checked in all other tests does check them."""

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped
from shape_checker import check


@jaxtyped(typechecker=check)
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

"""A loss whose scale follows the residuals: read once an epoch, the same for training and validation losses."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from torch import Tensor

from transformer_spectrum.losses import Loss
from transformer_spectrum.training.objective import WindowObjective
from transformer_spectrum.training.requests import Reading, Residuals

logger = logging.getLogger(__name__)


class LossScale:
    """Keeps the scale of the loss of several objectives where the training residuals are.

    Residuals are read without dropout, on a sample of the training windows, from the weights that are recorded. Where
    more than half of them are 0, or one is no number, the scale stays as it is, which is said once.

    Args:
        make: MAD of the residuals, scaled units -> the loss at that scale.
        training: the objective whose residuals are read.
        others: objectives that have the same loss.
        centre: of the loss, about which the residuals' MAD is taken; scaled units.
    """

    def __init__(
        self,
        make: Callable[[float], Loss],
        training: WindowObjective,
        others: Sequence[WindowObjective],
        centre: float = 0.0,
    ) -> None:
        self._make, self._training, self._objectives = make, training, (training, *others)
        self._centre, self._said = centre, False
        self.mad = math.nan
        """Of the residuals that the loss follows now; scaled units, NaN before the first reading."""

    def begin(self, weights: Tensor, mad: float | None) -> Reading:
        """Sets the scale as it was when a training was stopped, or to the residuals of its initial weights."""
        if mad is None:
            yield from self._read(weights)
        elif math.isfinite(mad):
            self._put(mad)

    def follow(self, step: int, weights: Tensor) -> Reading:
        """Reads the residuals of the weights behind so many updates, when an epoch's number of batches is full.

        An epoch of a gradient method has as many updates; a population method takes a batch a generation.
        """
        if step > 0 and step % self._training.batches_per_epoch == 0:
            yield from self._read(weights)

    def _read(self, weights: Tensor) -> Reading:
        mad = yield Residuals(self._training, weights, self._centre)
        if math.isfinite(mad) and mad > 0:
            self._put(mad)
        elif not self._said:
            self._said = True
            logger.warning("loss.scale = residual: the residuals have a MAD of %g, so the scale stays as it is", mad)

    def _put(self, mad: float) -> None:
        self.mad = mad
        for objective in self._objectives:
            objective.loss = self._make(mad)

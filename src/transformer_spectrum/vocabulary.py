"""Names and colours of optimizers, for pictures, pages and trackers: each once."""

from __future__ import annotations

# Okabe & Ito (2008): told apart under every common colour blindness.
COLOURS = {"adam": "#0072B2", "es": "#D55E00", "ga": "#009E73"}
NULL_COLOUR = "#6b6b6b"
TRUTH_COLOUR = "#222222"
WARNING_COLOUR = "#c00000"

NULL_LABEL = "initial weights (null)"
STANDIN = "STAND-IN DATA"
LOSS_UNITS = {"mse": "scaled units squared", "mae": "scaled units", "cauchy": "dimensionless", "sgt": "nats"}


def colour_of(optimizer: str) -> str:
    """The colour of one optimizer, the same in every figure; black for an unknown one."""
    return COLOURS.get(optimizer, "black")


def display_name(optimizer: str) -> str:
    """adam -> Adam, es -> ES, ga -> GA."""
    return {"adam": "Adam", "es": "ES", "ga": "GA"}.get(optimizer, optimizer)


def command_of(optimizer: str) -> str:
    """The command that trains by an optimizer.

    >>> command_of("adam"), command_of("es")
    ('train', 'train-es')
    """
    return {"adam": "train"}.get(optimizer, f"train-{optimizer}")

"""Whose the variance of every endpoint is: optimizer, loss, learning rate, data, seed, and their interactions."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference.variance import attribution
from transformer_spectrum.study.protocol.model import Protocol
from transformer_spectrum.study.protocol.sections import UNTREATED

SHARES = ("block", "endpoint", "axis", "trainings", "term", "degrees", "share", "low", "high", "reason")
"""A row a term; where a block, endpoint and axis have none, one row says why in `reason`."""


def crossed_blocks(protocol: Protocol) -> list[str]:
    """Blocks in which two factors or more are crossed, optimizer and loss among them, and all rates are given.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> crossed_blocks(parse_protocol(EXAMPLE))
    []
    """
    return [
        name
        for name, block in protocol.blocks.items()
        if name not in protocol.tuning_blocks
        and len(block.optimizers) > 1
        and len(block.losses) > 1
        and block.treatments == (UNTREATED,)
    ]


def shares_table(protocol: Protocol, endpoints: pd.DataFrame) -> pd.DataFrame:
    """SHARES of every endpoint of the crossed blocks on every axis that all their arms are on.

    Args:
        protocol: as it is now.
        endpoints: of `matched.endpoint_table`.

    >>> from transformer_spectrum.study.protocol.model import EXAMPLE, parse_protocol
    >>> shares_table(parse_protocol(EXAMPLE), pd.DataFrame()).columns.tolist()[-1]
    'reason'
    """
    rows = [row for block in crossed_blocks(protocol) for row in _of_block(protocol, block, endpoints)]
    return pd.DataFrame(rows, columns=list(SHARES))


def _of_block(protocol: Protocol, block: str, endpoints: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    arms = {arm.name: arm for arm in protocol.planned(block)}
    table = endpoints[endpoints["block"] == block]
    levels = {
        "optimizer": table["arm"].map({name: arm.optimizer for name, arm in arms.items()}),
        "loss": table["arm"].map({name: arm.loss for name, arm in arms.items()}),
        "rate": table["arm"].map({name: arm.rate for name, arm in arms.items()}),
        "dataset": table["dataset"],
    }
    factors = [name for name, column in levels.items() if column.nunique() > 1]
    table = table.assign(**levels)
    if table.empty:
        yield (block, "", "", 0, "", None, None, None, None, "no training of this block")
    for (endpoint, axis), rows in table.groupby(["endpoint", "axis"], sort=False):
        if axis == "updates" and any(protocol.optimizers[arm.optimizer].trained_by != "adam" for arm in arms.values()):
            continue  # which population methods are not on
        lacking = int(rows["value"].isna().sum())
        place = (block, endpoint, axis, len(rows))
        if absent := sorted(set(arms) - set(rows["arm"])):
            yield (*place, "", None, None, None, None, f"no training of {', '.join(absent)}")
            continue
        if lacking:
            yield (*place, "", None, None, None, None, f"{lacking} of {len(rows)} trainings have no value")
            continue
        try:
            shares = attribution(rows, factors)
        except InputError as error:
            yield (*place, "", None, None, None, None, str(error))
            continue
        for row in shares.itertuples():
            yield (*place, row.term, row.degrees, row.share, row.low, row.high, "")

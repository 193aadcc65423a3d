"""The controls behind the protocol's budget, as docs/findings.md shows them: `python docs/full_budget.py`.

With --write it is put into docs/findings.md, between the two comments. The protocol holds equal what all arms of a
block reach, and the arm of full batches has 160 of the others' 880 updates: what its axis "evaluations" says of the
controls is that of 481 evaluations. Here every arm that has as many is taken at 2,641, and the two arms whose batches
have another size, and which end elsewhere after as many epochs, at their own ends too, which nobody planned. It comes
from studies/tables, which are in git.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from marked import command, replaced

from transformer_spectrum.report.page.numbers import number, signed
from transformer_spectrum.study.inference.equivalence import equivalence
from transformer_spectrum.study.inference.estimates import mean_difference

ROOT = Path(__file__).parents[1]
FINDINGS = ROOT / "docs/findings.md"
BEGIN = "<!-- controls after all updates: python docs/full_budget.py --write -->"
END = "<!-- end of the controls after all updates -->"
BLOCK, REFERENCE = "controls", "adam-mse"
COLUMNS = {
    "change_log_stable_rank": ("change", 2),
    "path_log_stable_rank": ("W less its null", 4),
    "query_key_spectral_entropy": ("query-key entropy", 4),
    "output_value_spectral_entropy": ("output-value entropy", 4),
}
WORDS = {
    "again": "another batch order",
    "mse10": "10 x MSE",
    "rate3": "learning rate x 3",
    "decay": "weight decay .1",
    "batch8": "batch 8, a quarter of its updates",
    "no_momentum": "beta1 = 0",
    "clip1": "clip 1",
}
AT_THEIR_ENDS = {"batch8": "batch 8 at its own end", "full_batch": "full batch at its own end"}


def differences() -> dict[tuple[str, str], np.ndarray]:
    """(row, endpoint) -> (seeds,) arm - Adam: where Adam ends, interpolated in arms that go on; or each at its end."""
    cells, paths = (
        pd.read_csv(ROOT / "studies/tables/cells.csv"),
        pd.read_parquet(ROOT / "studies/tables/paths.parquet"),
    )
    own = cells[(cells["block"] == BLOCK) & (cells["status"] == "done")]
    budget = int(own[own["arm"] == REFERENCE]["evaluations"].max())
    by_training = dict(list(paths.sort_values("evaluations").groupby("training")))

    def at_budget(training: str, endpoint: str) -> float:
        records = by_training[training][["evaluations", endpoint]].dropna()
        return float(np.interp(budget, records["evaluations"], records[endpoint], left=np.nan, right=np.nan))

    def at_end(training: str, endpoint: str) -> float:
        return float(by_training[training][endpoint].dropna().iloc[-1])

    def values(arm: str, endpoint: str, read: Callable[[str, str], float]) -> pd.Series:
        trainings = own[own["arm"] == arm].set_index("seed")["training"]
        return trainings.map(lambda training: read(training, endpoint))

    return {
        (words, endpoint): (
            values(f"{REFERENCE}-{name}", endpoint, read) - values(REFERENCE, endpoint, read)
        ).to_numpy()
        for rows, read in ((WORDS, at_budget), (AT_THEIR_ENDS, at_end))
        for name, words in rows.items()
        for endpoint in COLUMNS
    }


def table() -> str:
    """Mean and interval of each, and whether it is null within its margin."""
    verdicts = json.loads((ROOT / "studies/tables/verdicts.json").read_text(encoding="utf-8"))
    margins, level = verdicts["tuning"]["margins"], verdicts["level"]
    by_arm_and_endpoint = differences()
    lines = [f"| after 2,641 evaluations | {' | '.join(words for words, _ in COLUMNS.values())} |", "|---" * 5 + "|"]
    for words in (*WORDS.values(), *AT_THEIR_ENDS.values()):
        cells = []
        for endpoint, (_, digits) in COLUMNS.items():
            values = by_arm_and_endpoint[words, endpoint]
            effect = mean_difference(values)
            margin = margins.get(endpoint)
            null = margin is not None and equivalence(values, margin).p_value <= level
            interval = f"[{number(effect.low, digits)}, {number(effect.high, digits)}]"
            cells.append(f"{signed(effect.mean, digits)} {interval}{' null' * null}")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def renewed(text: str) -> str:
    """The page with the present numbers between its two comments."""
    return replaced(text, BEGIN, table(), END)


if __name__ == "__main__":
    command("the controls after all their updates", FINDINGS, table, renewed)

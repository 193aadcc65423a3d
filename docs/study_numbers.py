"""The answer of the committed study, as README.md shows it: `python docs/study_numbers.py` prints it as Markdown.

With --write it is put into README.md, between the two comments. It comes from studies/tables, which are in git, so a
clone can check it; the sentences are those of the study's own report.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from marked import command, replaced

from transformer_spectrum.report.study_page.words import answers, failed_words

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN = "<!-- numbers of the study: python docs/study_numbers.py --write -->"
END = "<!-- end of the numbers of the study -->"


def numbers() -> str:
    """All of it, as it stands in README.md."""
    verdicts = json.loads((ROOT / "studies/tables/verdicts.json").read_text(encoding="utf-8"))
    variance = pd.read_csv(ROOT / "studies/tables/variance.csv")
    trainings = pd.read_csv(ROOT / "studies/tables/cells.csv")["training"].nunique()
    seeds = sorted({block["seeds"][1] for block in verdicts["blocks"] if not block["tuning"]})
    lines = [
        "![Differences between optimizers and between losses with their intervals, and shares of variance]"
        "(studies/report/answer.png)",
        f"From {trainings} trainings of {seeds[0]} to {seeds[-1]} paired seeds under a protocol that was fixed before "
        f"they ran (`studies/protocol.yaml`), beside those that chose rates, targets and margins. Differences are "
        f"first − second in ln units, with 95 % intervals.",
        *failed_words(verdicts["failed_controls"]),
    ]
    for question, sentences in answers(verdicts, variance):
        lines += [f"**{question}**", "\n".join(f"- {sentence}" for sentence in sentences)]
    return "\n\n".join(lines)


def renewed(text: str) -> str:
    """The page with the present numbers between its two comments."""
    return replaced(text, BEGIN, numbers(), END)


if __name__ == "__main__":
    command("the answer of the committed study", README, numbers, renewed)

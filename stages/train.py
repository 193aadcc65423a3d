"""Stages train-adam, train-es and train-ga: trains by one of the optimizers, recording every spectrum.

python stages/train.py adam|es|ga
"""

import argparse
from pathlib import Path

from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.runtime import run_cache
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.tracking.recorder import carry_over_of_others
from transformer_spectrum.training.footprint import check_it_fits
from transformer_spectrum.training.train import Job, train


def main(optimizer: str) -> None:
    params = load_params()
    job = Job(
        params,
        optimizer,
        data=Path("data/processed/windows.npz"),
        models=Path("models") / optimizer,
        metrics=Path("metrics") / optimizer,
        provenance=Path("data/processed/provenance.json"),
        resume=Path(".resume") / optimizer,
    )

    def run() -> None:
        check_it_fits(params, job.optimizer, job.data)
        train(job)

    run_cache.once(run, carry_over_of_others)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizer", choices=OPTIMIZERS)
    chosen = parser.parse_args().optimizer
    with one_line_errors(f"train-{chosen}"), to_stderr():
        main(chosen)

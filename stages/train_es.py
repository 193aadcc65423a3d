"""Stage train-es: trains by evolution strategy, recording the spectra of every weight matrix and of its change."""

from pathlib import Path

from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime import run_cache
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.tracking.recorder import carry_over_of_others
from transformer_spectrum.training.footprint import check_it_fits
from transformer_spectrum.training.train import Job, train


def main() -> None:
    params = load_params()
    job = Job(
        params,
        "es",
        data=Path("data/processed/windows.npz"),
        models=Path("models/es"),
        metrics=Path("metrics/es"),
        provenance=Path("data/processed/provenance.json"),
        resume=Path(".resume/es"),
    )

    def run() -> None:
        check_it_fits(params, job.optimizer, job.data)
        train(job)

    run_cache.once(run, carry_over_of_others)


if __name__ == "__main__":
    with one_line_errors("train-es"), to_stderr():
        main()

"""Stage synthesize: draws the synthetic series from the skewed generalized t distribution."""

import json
from pathlib import Path

import numpy as np

from transformer_spectrum.data.synthetic import synthesize
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.files import atomic_folder, atomic_path, write_json
from transformer_spectrum.params import load_params
from transformer_spectrum.provenance import describe_source
from transformer_spectrum.seeds import numpy_generator


def main() -> None:
    params = load_params()
    block = params.data.synthetic
    series = synthesize(
        SGT(block.mu, block.sigma, block.lam, block.p, block.q, block.centred, block.unit_variance),
        series=block.series,
        length=block.length,
        features=block.features,
        **{f"kernel_{key}": value for key, value in block.kernel},
        generator=numpy_generator(params.seed, "synthetic series"),
    )
    with atomic_folder("data/raw/synthetic") as folder:
        path = Path(folder) / "series.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, series, allow_pickle=False)
        about = describe_source(
            path,
            "synthetic",
            "skewed generalized t noise, smoothed",
            rows=len(series),
            seed=params.seed,
            parameters=json.loads(block.model_dump_json()),  # writes an infinite q as text
        )
        write_json(Path(folder) / "provenance.json", about)


if __name__ == "__main__":
    with one_line_errors("synthesize"):
        main()

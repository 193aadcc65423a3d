"""Raw series of the data set `synthetic`: drawn, into a folder with their provenance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from transformer_spectrum.config.load import Params
from transformer_spectrum.config.schema import SyntheticParams
from transformer_spectrum.data.synthesis.smoothed_noise import synthesize
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_folder, atomic_path, write_json
from transformer_spectrum.runtime.memory import Footprint, MemoryPart, free_memory
from transformer_spectrum.runtime.ownership import RECORD, check_replaceable
from transformer_spectrum.runtime.provenance import describe_source
from transformer_spectrum.runtime.seeds import numpy_generator

LARGEST = 1e150
"""Below it values have to stay, so that errors in data units can be squared."""
COPIES, OF_TAP = 5, 4
"""Numbers that are held for each one that is drawn, and for each tap of the kernel."""


def drawing_footprint(synthetic: SyntheticParams) -> Footprint:
    """Memory that drawing takes at its peak, about; benchmarks/RESULTS.md has measured peaks.

    Args:
        synthetic: the block data.synthetic.

    >>> from transformer_spectrum.config.load import load_params
    >>> round(drawing_footprint(load_params("params.yaml").data.synthetic).size / 1e6)  # 1,000 series of 300 steps
    12
    """
    drawn, taps = synthetic.series * synthetic.length * synthetic.features, synthetic.kernel.size
    smaller = "data.synthetic.series, data.synthetic.length or data.synthetic.features smaller"
    return Footprint(
        0,
        {
            "draws": MemoryPart(8.0 * COPIES * drawn, smaller),
            "taps of the kernel": MemoryPart(8.0 * OF_TAP * taps, "data.synthetic.kernel.size smaller"),
        },
    )


def draw_synthetic(params: Params, folder: str | Path) -> None:
    """Draws the synthetic series of the seed: series.npy (series, steps, features) and provenance.json.

    Raises:
        InputError: the folder holds a series.npy that is of somebody else, or memory does not suffice.

    >>> from transformer_spectrum.config.load import load_params
    >>> draw_synthetic(load_params("params.yaml"), "raw")
    >>> np.load("raw/series.npy").shape, sorted(path.name for path in Path("raw").iterdir())
    ((1000, 300, 1), ['provenance.json', 'series.npy'])
    """
    block = params.data.synthetic
    if refusal := drawing_footprint(block).refusal(free_memory()):
        raise InputError(f"drawing data.synthetic {refusal}")
    check_replaceable(folder, "series.npy", "a file of yours belongs into data/raw/file, with data.dataset = file")
    try:
        series = synthesize(
            SGT(block.mu, block.sigma, block.lam, block.p, block.q, block.centred, block.unit_variance),
            series=block.series,
            length=block.length,
            features=block.features,
            **{f"kernel_{key}": value for key, value in block.kernel},
            generator=numpy_generator(params.seed, "synthetic series"),
        )
    except (InputError, ValueError) as error:
        raise InputError(f"data.synthetic: {error}") from None
    if (largest := float(np.abs(series).max())) >= LARGEST:
        words = f"data.synthetic.mu = {block.mu:g} with data.synthetic.sigma = {block.sigma:g}"
        raise InputError(f"{words}: draws of up to {largest:.0e}: must be below {LARGEST:.0e}")
    with atomic_folder(folder, own=("series.npy", RECORD)) as inside:
        path = inside / "series.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, series, allow_pickle=False)
        record = describe_source(
            path,
            "synthetic",
            "skewed generalized t noise, smoothed",
            rows=len(series),
            seed=params.seed,
            # JSON writes an infinite q as text; the season concerns a baseline, not the series.
            parameters=json.loads(block.model_dump_json(exclude={"season"})),
        )
        write_json(inside / RECORD, record)

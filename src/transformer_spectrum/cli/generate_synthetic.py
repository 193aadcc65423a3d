"""The command `generate-synthetic`: what the stage synthesize draws, into a file that `train --dataset` takes."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from transformer_spectrum.cli.options import SYNTHETIC, add_force, add_parameters, asked, read_by
from transformer_spectrum.runtime.replacement import scratch_folder

logger = logging.getLogger(__name__)

KERNEL = "data.synthetic.kernel.type"


def add(command: argparse.ArgumentParser) -> None:
    """Its arguments.

    >>> add(command := argparse.ArgumentParser())
    >>> command.parse_args(["-o", "series.npy", "--no-smooth"]).smooth
    False
    """
    command.description = (
        "Draws independent series of skewed generalized t noise, smoothed by a kernel, as data.synthetic in "
        "params.yaml describes them, and writes them with their provenance. The same settings and seed draw the same."
    )
    out = "the file: .npy (series, steps, features), .npz, .csv or .parquet (long)"
    command.add_argument("-o", "--out", metavar="FILE", required=True, type=Path, help=out)
    command.add_argument(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        help=f"smooth by the kernel, a Gaussian where none is set, or leave the noise as it is [{KERNEL}]",
    )
    add_parameters(command, SYNTHETIC)
    add_force(command)


def run(chosen: argparse.Namespace) -> None:
    """Draws and writes.

    Raises:
        InputError: a parameter is bad, the file's name has an unknown ending, or what lies there is of somebody else.

    >>> import numpy as np
    >>> add(command := argparse.ArgumentParser())
    >>> run(command.parse_args(["-o", "series.npy", "--set", "data.synthetic.series=3"]))
    >>> np.load("series.npy").shape
    (3, 300, 1)
    """
    import dataclasses

    import numpy as np

    from transformer_spectrum.config.resolve import resolve
    from transformer_spectrum.data.files.series_files import check_suffix, of_array, write_series_file
    from transformer_spectrum.data.synthesis.drawing import draw_synthetic
    from transformer_spectrum.runtime.files import atomic_together, read_json, sha256
    from transformer_spectrum.runtime.ownership import check_file, record_beside, write_record

    check_suffix(chosen.out)
    check_file("--out", chosen.out, inputs=read_by(chosen), force=chosen.force)
    request = asked(chosen, SYNTHETIC)
    # Without a window, which these series need not hold.
    flags = {**request.flags, "data.dataset": ("file", "generate-synthetic")}
    params = resolve(dataclasses.replace(request, flags=flags)).params
    kernel = params.data.synthetic.kernel.type
    if chosen.smooth is not None:
        wanted = ("gaussian" if kernel == "none" else kernel) if chosen.smooth else "none"
        flags[KERNEL] = (wanted, "--smooth" if chosen.smooth else "--no-smooth")
        params = resolve(dataclasses.replace(request, flags=flags), lambda line: None).params
    with scratch_folder() as scratch:
        folder = scratch / "synthetic"
        draw_synthetic(params, folder)
        values = np.load(folder / "series.npy", allow_pickle=False)
        fields = read_json(folder / "provenance.json")
    with atomic_together(record_beside(chosen.out), chosen.out) as (record, table):
        write_series_file(table, of_array(values))
        fields |= {"sha256": sha256(table), "bytes": table.stat().st_size}
        write_record(record, fields, {chosen.out: table})
    count, length, features = values.shape
    logger.info(f"{chosen.out}: {count} series of {length} steps, features: {features}, seed {params.seed}")

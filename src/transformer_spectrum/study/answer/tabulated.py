"""The step of a study that holds an axis equal: from files to files, as a stage of studies/dvc.yaml."""

from __future__ import annotations

from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime.files import write_table
from transformer_spectrum.study.answer.curves import curves_table
from transformer_spectrum.study.answer.matched import endpoint_table, summary_table
from transformer_spectrum.study.answer.places import HERE, StudyPlaces
from transformer_spectrum.study.answer.stored import CELLS, PATHS, check_complete, stored, write_csv_table
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.protocol.cells import planned_cells
from transformer_spectrum.study.protocol.model import load_protocol


def tabulate_study(places: StudyPlaces = HERE) -> None:
    """Writes every endpoint where an axis is held equal, their means over seeds, and curves of the primary ones."""
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    assert protocol.tuning is not None
    cells, paths = stored(places.cells, CELLS, "study-run"), stored(places.paths, PATHS, "study-run")
    check_complete(planned_cells(protocol, protocol.measured_blocks, load_params()), cells, paths, places.cells)
    table = endpoint_table(protocol, cells, paths, protocol.tuning)
    write_table(places.endpoints, table)
    write_csv_table(places.summary, summary_table(table))
    write_csv_table(places.curves, curves_table(cells, paths, protocol.endpoints.primary))

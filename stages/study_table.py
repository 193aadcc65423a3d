"""Stage study-table: every endpoint of every cell of the study where an axis is held equal.

Another protocol than studies/protocol.yaml may follow as an argument.
"""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.tabulated import tabulate_study

if __name__ == "__main__":
    with one_line_errors("study-table"), to_stderr():
        tabulate_study(StudyPlaces.of(*(sys.argv[1:] or ["studies/protocol.yaml"])))

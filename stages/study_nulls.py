"""Stage study-nulls: endpoints of the first seeds beside their nulls, in spreads of these; exponents with D and a null.

Another protocol than studies/protocol.yaml may follow as an argument.
"""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.beside_nulls.steps import set_beside_nulls
from transformer_spectrum.study.running.worker import single_threaded

if __name__ == "__main__":
    single_threaded()  # and so the workers, which inherit it
    with one_line_errors("study-nulls"), to_stderr():
        set_beside_nulls(StudyPlaces.of(*(sys.argv[1:] or ["studies/protocol.yaml"])))

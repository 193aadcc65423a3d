"""Stage study-follow: what published claims ask of weights, measured where the trainings of their arms end.

Another protocol than studies/protocol.yaml may follow as an argument.
"""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.follow_up.steps import follow_claims
from transformer_spectrum.study.running.worker import single_threaded

if __name__ == "__main__":
    single_threaded()  # and so the workers, which inherit it
    with one_line_errors("study-follow"), to_stderr():
        follow_claims(StudyPlaces.of(*(sys.argv[1:] or ["studies/protocol.yaml"])))

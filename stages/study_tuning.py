"""Stage study-tuning: the tuning seeds of the study, and the rates, targets and margins that they fix.

Another protocol than studies/protocol.yaml may follow as an argument.
"""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.steps import tune_study
from transformer_spectrum.study.running.worker import single_threaded

if __name__ == "__main__":
    single_threaded()  # and so the workers, which inherit it
    with one_line_errors("study-tuning"), to_stderr():
        tune_study(StudyPlaces.of(*(sys.argv[1:] or ["studies/protocol.yaml"])))

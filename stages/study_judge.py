"""Stage study-judge: the verdicts of the study, its shares of variance, and its answers to published claims.

Another protocol than studies/protocol.yaml may follow as an argument.
"""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.conclusions.steps import judge_whole_study

if __name__ == "__main__":
    with one_line_errors("study-judge"), to_stderr():
        judge_whole_study(StudyPlaces.of(*(sys.argv[1:] or ["studies/protocol.yaml"])))

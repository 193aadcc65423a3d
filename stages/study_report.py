"""Stage study-report: the study as a page, as Markdown, and as tables for a paper.

Another protocol than studies/protocol.yaml may follow as an argument.
"""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.conclusions.published import report_study

if __name__ == "__main__":
    with one_line_errors("study-report"), to_stderr():
        report_study(StudyPlaces.of(*(sys.argv[1:] or ["studies/protocol.yaml"])))

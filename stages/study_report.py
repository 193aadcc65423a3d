"""Stage study-report: the study in words and tables."""

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.steps import report_study

if __name__ == "__main__":
    with one_line_errors("study-report"), to_stderr():
        report_study()

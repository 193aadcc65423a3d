"""Stage study-table: every endpoint of every cell of the study where an axis is held equal."""

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.steps import tabulate_study

if __name__ == "__main__":
    with one_line_errors("study-table"), to_stderr():
        tabulate_study()

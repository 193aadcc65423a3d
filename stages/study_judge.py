"""Stage study-judge: the verdicts of the study, and its answers to published claims."""

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.steps import judge_whole_study

if __name__ == "__main__":
    with one_line_errors("study-judge"), to_stderr():
        judge_whole_study()

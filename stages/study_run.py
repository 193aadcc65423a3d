"""Stage study-run: every other cell of the study, trained in ensembles; with --dry-run, a list of the study's cells."""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.steps import plan_study, run_study
from transformer_spectrum.study.worker import single_threaded

if __name__ == "__main__":
    single_threaded()  # and so the workers, which inherit it
    with one_line_errors("study-run"), to_stderr():
        if sys.argv[1:] == ["--dry-run"]:
            print("\n".join(plan_study()))
        else:
            run_study()

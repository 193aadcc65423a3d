"""Stage study-run: every other cell of the study, trained in ensembles; with --dry-run, a list of the study's cells.

Another protocol than studies/protocol.yaml may follow as an argument.
"""

import sys

from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.steps import plan_study, run_study
from transformer_spectrum.study.running.worker import single_threaded

if __name__ == "__main__":
    single_threaded()  # and so the workers, which inherit it
    with one_line_errors("study-run"), to_stderr():
        protocols = [argument for argument in sys.argv[1:] if argument != "--dry-run"] or ["studies/protocol.yaml"]
        places = StudyPlaces.of(*protocols)
        if "--dry-run" in sys.argv[1:]:
            print("\n".join(plan_study(places)))
        else:
            run_study(places)

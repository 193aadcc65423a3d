"""The steps of a study, in the order of its stages."""

from transformer_spectrum.study.answer.steps import run_study, tune_study
from transformer_spectrum.study.answer.tabulated import tabulate_study
from transformer_spectrum.study.beside_nulls.steps import set_beside_nulls
from transformer_spectrum.study.conclusions.published import report_study
from transformer_spectrum.study.conclusions.steps import judge_whole_study
from transformer_spectrum.study.follow_up.steps import follow_claims

STEPS = (tune_study, run_study, tabulate_study, follow_claims, set_beside_nulls, judge_whole_study, report_study)

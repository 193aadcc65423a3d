"""Stage report: what a run came to, as a page for people and as Markdown for comments; its parameters for dvc plots."""

from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.footprint import check_report_fits
from transformer_spectrum.report.run import read_run
from transformer_spectrum.report.run_page.markdown import markdown
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.report.run_page.tables import PARAMETERS, parameter_rows
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.files import atomic_folder, write_csv, write_text
from transformer_spectrum.runtime.log import to_stderr


def main() -> None:
    check_report_fits()
    run = read_run(load_params())
    with atomic_folder("report", own=("index.html", "report.md")) as folder:
        write_text(folder / "index.html", page(run))
        write_text(folder / "report.md", markdown(run))
    write_csv("metrics/parameters.csv", PARAMETERS, parameter_rows(run))


if __name__ == "__main__":
    with one_line_errors("report"), to_stderr():
        main()

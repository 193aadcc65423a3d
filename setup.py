"""Copies params.yaml, the JSON schemas and the grids into the built package; everything else is in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FILES = runpy.run_path("src/transformer_spectrum/config/packaged.py")["FILES"]


class Build(build_py):
    """Not in an editable install: that one runs from the repository, which has the originals."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib) / "transformer_spectrum" / "packaged"
            for name, path in FILES.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)


setup(cmdclass={"build_py": Build})

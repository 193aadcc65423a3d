"""Vega for pages that work offline: its libraries, and their licences."""

from __future__ import annotations

from importlib.resources import files


def libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; it sets window.vega, vegaLite and vegaEmbed.

    Raises:
        ModuleNotFoundError: vl-convert-python is not installed.
    """
    import vl_convert

    return vl_convert.javascript_bundle()


def licences() -> str:
    """The licences of these libraries, which every copy must carry."""
    return (files(__package__) / "licenses.txt").read_text(encoding="utf-8")

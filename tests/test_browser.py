"""The browser of the tests sees what it must see: marks, errors, requests, and their absence."""

import browser as browsers
import pytest
from PIL import Image

SVG = """<div class="vega-embed" id="one"><svg width="50" height="50" xmlns="http://www.w3.org/2000/svg">
<g class="mark-rect role-axis-grid"><path d="M0,0h9" stroke="#ddd"/></g>
<g class="mark-line role-mark marks"><path d="M0,0L9,9" stroke="#123456"/><path d="" stroke="#654321"/></g>
<g class="mark-text role-title-text"><text>A title</text></g>
</svg></div>"""


@pytest.fixture
def page_of(browser, tmp_path):
    def make(body, **options):
        (tmp_path / "page.html").write_text(f"<!DOCTYPE html><html><body>{body}</body></html>")
        return browser.open(tmp_path / "page.html", **options)

    return make


def test_drawn_marks_are_counted_and_empty_ones_and_axes_are_not(page_of):
    with page_of(SVG) as page:
        (figure,) = page.figures()
        assert (figure.id, figure.marks, figure.strokes, figure.texts) == ("one", 1, ["#123456"], ["A title"])
        assert (page.errors, page.requests, page.overflow()) == ([], [], 0)


def test_requests_are_refused_and_errors_are_heard(page_of):
    body = """<img src="http://127.0.0.1:9/picture.png"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">
    <script>console.error("one"); console.warn("careful"); null.field;</script>"""
    with page_of(body) as page:
        assert page.requests == ["http://127.0.0.1:9/picture.png"]
        assert "one" in page.errors
        assert any("null" in error for error in page.errors)
        assert page.warnings == ["careful"]


def test_a_screenshot_has_the_width_and_the_scheme_asked_for(page_of, tmp_path):
    body = "<style>:root { color-scheme: light dark; }</style><div style='width: 500px'>wide</div>"
    for dark in (False, True):
        with page_of(body, width=390, dark=dark) as page:
            assert page.overflow() > 100
            drawn = page.screenshot(tmp_path / "page.png", whole=False).read_bytes()
        assert int.from_bytes(drawn[16:20]) == 390
        with Image.open(tmp_path / "page.png") as image:
            assert (image.convert("L").getpixel((380, 800)) < 128) is dark


def test_without_a_browser_the_reason_is_said(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    assert browsers.find_browser() is None
    monkeypatch.delenv("CHROMIUM")
    monkeypatch.setenv("PATH", "/nowhere")
    assert browsers.find_browser() is None

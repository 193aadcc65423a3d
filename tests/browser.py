"""A headless Chromium for tests: pages open as files, without a network, and say what they drew and complained about.

    def test_a_page_is_drawn(browser, tmp_path):
        with browser.open(tmp_path / "index.html", width=390, dark=True) as page:
            assert page.requests == []                        # everything that is not file:, data: or blob:
            assert page.errors == []                          # console errors and uncaught exceptions
            assert [figure.marks > 0 for figure in page.figures()] == [True]
            page.screenshot(tmp_path / "index.png")
            page.driver.get_by_role("link", name="Data")      # everything else that playwright's Page can do

Tests that take `browser` are skipped, with the reason, where there is none. CHROMIUM names one that is not on PATH.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "microsoft-edge")
LOCAL = ("file:", "data:", "blob:", "about:")

# Vega's SVG: every mark is a group of the class role-mark with one element for each item. A line or an area has no
# extent when its data are missing, so only elements with a box are counted. Axes, legends and titles are no marks.
FIGURES = """
selector => [...document.querySelectorAll(selector)].map(holder => {
    const items = [...holder.querySelectorAll('svg g.role-mark > *')].filter(item => item.tagName !== 'g');
    const drawn = items.filter(item => { const box = item.getBBox(); return box.width > 0 || box.height > 0; });
    const paints = attribute => drawn.map(item => item.getAttribute(attribute)).filter(Boolean);
    const box = holder.getBoundingClientRect();
    return {
        id: holder.id,
        marks: drawn.length,
        strokes: [...new Set(paints('stroke'))],
        fills: [...new Set(paints('fill'))],
        texts: [...holder.querySelectorAll('svg text')].map(text => text.textContent).filter(Boolean),
        width: box.width,
        height: box.height,
    };
})
"""


@dataclass(frozen=True)
class Figure:
    """One Vega figure as the page shows it.

    Attributes:
        id: of its element.
        marks: items with an extent, without axes, legends and titles; count. A line is one item.
        strokes: colours of their outlines, as CSS has them.
        fills: colours inside them.
        texts: titles, labels, legend entries and text marks.
        width, height: of the element; CSS pixels.
    """

    id: str
    marks: int
    strokes: list[str]
    fills: list[str]
    texts: list[str]
    width: float
    height: float


@dataclass
class Page:
    """A page that is open.

    Attributes:
        driver: playwright's Page.
        requests: addresses that were asked for and refused.
        errors: console errors and uncaught exceptions; refused requests among them, as "Failed to load resource".
        warnings: console warnings.
    """

    driver: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def figures(self, selector: str = ".vega-embed") -> list[Figure]:
        """The Vega figures (drawn as SVG), in the page's order."""
        return [Figure(**about) for about in self.driver.evaluate(FIGURES, selector)]

    def screenshot(self, path: str | Path, *, whole: bool = True) -> Path:
        """Writes a PNG of the whole page, or of what the window shows."""
        self.driver.screenshot(path=str(path), full_page=whole)
        return Path(path)

    def overflow(self) -> float:
        """How much wider than its window the page is, 0 where nobody has to scroll sideways; CSS pixels."""
        return self.driver.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


class Browser:
    """A browser that is installed; it starts with the first page and serves all that follow, each on its own.

    Args:
        executable: its path.
    """

    def __init__(self, executable: str) -> None:
        self.executable = executable
        self._running = contextlib.ExitStack()
        self._chromium: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def chromium(self) -> Any:
        """Playwright's Browser."""
        if self._chromium is None:
            from playwright.sync_api import sync_playwright

            playwright = self._running.enter_context(sync_playwright())
            launch = playwright.chromium.launch(executable_path=self.executable, args=["--no-sandbox"])
            self._chromium = self._running.enter_context(launch)
        return self._chromium

    def close(self) -> None:
        """Ends it, if it runs."""
        with self._at_work():
            self._running.close()

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Playwright's loop counts as running only meanwhile: it would break asyncio in the tests that follow."""
        if self._loop:
            asyncio._set_running_loop(self._loop)
        try:
            yield
        finally:
            self._loop = asyncio._get_running_loop()
            asyncio._set_running_loop(None)

    @contextlib.contextmanager
    def open(
        self, path: str | Path, *, width: int = 1280, height: int = 900, dark: bool = False, ready: str | None = None
    ) -> Iterator[Page]:
        """Opens a file, and closes it at the end.

        Args:
            path: of the HTML file.
            width, height: of the window; CSS pixels.
            dark: the user prefers dark pages.
            ready: JavaScript expression to wait for, up to a minute; null waits until nothing loads any more.
        """
        scheme = "dark" if dark else "light"
        with (
            self._at_work(),
            self.chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context,
        ):
            context.set_default_timeout(60_000)
            page = Page(context.new_page())
            _watch(page)
            page.driver.goto(Path(path).resolve().as_uri(), wait_until="load")
            if ready:
                page.driver.wait_for_function(ready)
            else:
                page.driver.wait_for_load_state("networkidle")
            yield page


def _watch(page: Page) -> None:
    """Refuses the network and writes down what the page complains about."""

    def decide(route: Any) -> None:
        if route.request.url.startswith(LOCAL):
            route.continue_()
        else:
            page.requests.append(route.request.url)
            route.abort()

    def listen(message: Any) -> None:
        if message.type in ("error", "warning"):
            (page.errors if message.type == "error" else page.warnings).append(message.text)

    page.driver.route("**/*", decide)
    page.driver.on("console", listen)
    page.driver.on("pageerror", lambda error: page.errors.append(str(error)))


def find_browser() -> str | None:
    """Path of a Chromium or Chrome: the variable's, or the first on PATH; None where there is none."""
    named = os.environ.get(VARIABLE)
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The installed browser, started once a file, since others fork; without it, or playwright, the test is skipped."""
    pytest.importorskip("playwright", reason="the package playwright is not installed")
    executable = find_browser()
    if executable is None:
        pytest.skip(f"no browser: set {VARIABLE} to the path of a Chromium, or install one (apt-get install chromium)")
    installed = Browser(executable)
    yield installed
    installed.close()

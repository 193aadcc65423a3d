"""One file over HTTP: pooch does the work, this decides how long to wait, what to try again, and what went wrong."""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.progress import Progress

CONNECT_SECONDS = 4.0  # to resolve the name and open a connection; all of a host's addresses together
READ_SECONDS = 30.0  # without a single byte
PAUSES = (0.5, 1.5)  # before the second and the third attempt; seconds
PORTS = {"http": 80, "https": 443}


class Unreachable(Exception):
    """A source cannot be had; the message is the reason in a few words."""

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


class CutShort(InputError):
    """A source has begun to deliver and did not finish."""

    transient = True


def is_url(address: str) -> bool:
    """Whether `address` is an http(s) URL with a host and a usable port."""
    try:
        parts = urlsplit(address)
        return parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def shown(address: str) -> str:
    """`address` without the user name and password that a URL may hold."""
    return re.sub(r"//[^/@]*@", "//", address)


def _knock(url: str) -> None:
    """Opens a connection to the URL's host, or to the proxy before it, and closes it.

    The timeout of requests starts anew for each of a host's addresses and leaves out the name's resolution:
    behind a firewall that answers nothing, it would be minutes.

    Raises:
        Unreachable: no connection within CONNECT_SECONDS.
    """
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    parts = urlsplit(requests.utils.prepend_scheme_if_needed(proxy, "http") if proxy else url)
    address = (parts.hostname, parts.port or PORTS.get(parts.scheme, 1080))
    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def connect() -> None:
        try:
            socket.create_connection(address, CONNECT_SECONDS).close()
            outcome.put(None)
        except (OSError, UnicodeError) as error:  # a host name that cannot be encoded is a UnicodeError
            outcome.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        error = outcome.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        error = TimeoutError()
    if isinstance(error, TimeoutError):
        raise Unreachable(f"no connection within {CONNECT_SECONDS:g} s")
    if error is not None:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreachable(reason, transient=isinstance(error, ConnectionRefusedError))


def _explain(error: requests.RequestException, url: str) -> Exception:
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        return Unreachable(f"HTTP {status} {error.response.reason}", transient=status == 429 or status >= 500)
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return CutShort(f"{shown(url)}: the connection closed before the whole file had come; cut short")
    if isinstance(error, requests.Timeout):
        return Unreachable(f"no answer within {READ_SECONDS:g} s")
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable("no secure connection (TLS)")
    if isinstance(error, requests.ConnectionError):
        return Unreachable("the connection broke", transient=True)
    return Unreachable(type(error).__name__)


class _Bytes:
    """What pooch asks of a progress bar: it sets `total` (bytes; 0 = not known), and at the end resets and fills it."""

    def __init__(self, title: str) -> None:
        self.title, self.total = title, 0
        self.progress: Progress | None = None

    def update(self, count: int) -> None:
        if self.progress is None:
            self.progress = Progress(self.title, self.total, unit="B", ends=False)
            self.progress.__enter__()
        done = self.progress.step + count  # whole chunks, of which the last is shorter
        self.progress.update(min(done, self.total) if self.total else done)

    def reset(self) -> None:
        if self.progress is not None and self.total:
            self.progress.step = 0

    def close(self) -> None:
        if self.progress is not None:
            self.progress.__exit__(None, None, None)


def _attempt(url: str, path: Path) -> None:
    _knock(url)
    bar = _Bytes(path.name)
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        pooch.retrieve(url, known_hash=None, fname=path.name, path=path.parent, downloader=downloader)
    except requests.RequestException as error:
        raise _explain(error, url) from None
    finally:
        bar.close()


def download(url: str, path: Path) -> None:
    """Downloads `url` to `path`, which must not exist; up to three attempts, with progress shown.

    What may pass is tried again: HTTP 429 and 5xx, a refused or broken connection, a body cut short. What has
    used up its time, or will not change (HTTP 404, an unknown host), is not.

    Raises:
        Unreachable: no answer, or an answer that is not the file.
        InputError: the file was cut short each time.
        OSError: the disk is full.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # it announces every download and its checksum
    for pause in PAUSES:
        try:
            return _attempt(url, path)
        except (Unreachable, CutShort) as error:
            if not error.transient:
                raise
            time.sleep(pause)
    return _attempt(url, path)

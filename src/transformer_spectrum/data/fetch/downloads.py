"""One file over HTTP: pooch fetches it and tries again; this says how long to wait, when to give up, and why."""

from __future__ import annotations

import logging
import queue
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests

from transformer_spectrum.runtime.addresses import PORTS, without_password
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.progress import Progress

CONNECT_SECONDS = 4.0  # to resolve the name and open a connection; all of a host's addresses together
READ_SECONDS = 30.0  # without a single byte
ATTEMPTS = 3  # pooch waits 1 s before the second and 2 s before the third


class Unreachable(Exception):
    """A source cannot be had; the message is the reason in a few words."""


class _Refused(requests.ConnectionError):
    """Nobody listens there; a moment later somebody may."""


def _knock(url: str) -> None:
    """Opens a connection to the URL's host, or to the proxy before it, and closes it.

    The timeout of requests starts anew for each of a host's addresses and leaves out the name's resolution:
    behind a firewall that answers nothing, it would be minutes.

    Raises:
        Unreachable: no connection within CONNECT_SECONDS, or an unknown host.
        _Refused: a refused connection.
    """
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    server = urlsplit(requests.utils.prepend_scheme_if_needed(proxy, "http") if proxy else url)
    address = (server.hostname, server.port or PORTS.get(server.scheme, 1080))
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
    if isinstance(error, ConnectionRefusedError):
        raise _Refused(error.strerror)
    if error is not None:
        raise Unreachable(getattr(error, "strerror", None) or str(error))


def _fault(error: requests.RequestException, url: str) -> tuple[Exception, bool]:
    """What to say of an error, and whether another attempt may succeed."""
    match error:
        case requests.HTTPError(response=answer):
            busy = answer.status_code == 429 or answer.status_code >= 500
            return Unreachable(f"HTTP {answer.status_code} {answer.reason}"), busy
        case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            words = "the connection closed before the whole file had come; cut short"
            return InputError(f"{without_password(url)}: {words}"), True
        case requests.Timeout():
            return Unreachable(f"no answer within {READ_SECONDS:g} s"), False
        case requests.exceptions.SSLError():
            return Unreachable("no secure connection (TLS)"), False
        case _Refused():
            return Unreachable(str(error)), True
        case requests.ConnectionError():
            return Unreachable("the connection broke"), True
    return Unreachable(type(error).__name__), False


class _Bytes:
    """What pooch asks of a progress bar: it sets `total` (bytes; 0 = not known), and at the end resets and fills it."""

    def __init__(self, title: str) -> None:
        self.title, self.total = title, 0
        self.progress: Progress | None = None

    def update(self, count: int) -> None:
        if self.progress is None:
            self.progress = Progress(self.title, self.total, unit="B", ends=False).__enter__()
        step = self.progress.step + count  # whole chunks, of which the last is shorter
        self.progress.update(min(step, self.total) if self.total else step)

    def reset(self) -> None:
        if self.progress is not None and self.total:
            self.progress.step = 0

    def close(self) -> None:
        if self.progress is not None:
            self.progress.__exit__(None, None, None)


def download(url: str, path: Path) -> None:
    """Downloads `url` to `path`, which must not exist; up to three attempts, with progress shown.

    What may pass is tried again: HTTP 429 and 5xx, a refused or broken connection, a body cut short. What has
    used up its time, or will not change (HTTP 404, an unknown host), is not.

    Raises:
        Unreachable: no answer, or an answer that is not the file.
        InputError: the file was cut short each time.
        OSError: the disk is full.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # it announces every download, its checksum and every attempt

    def attempt(url: str, file: str, store: pooch.Pooch) -> None:
        """Raises what pooch tries again, which is what requests raises, only where that may help."""
        bar = _Bytes(path.name)
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        try:
            _knock(url)
            pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=timeout)(url, file, store)
        except requests.RequestException as error:
            reason, may_pass = _fault(error, url)
            if may_pass:
                raise
            raise reason from None
        finally:
            bar.close()

    registry, urls = {path.name: None}, {path.name: url}
    store = pooch.create(path.parent, "", registry=registry, urls=urls, retry_if_failed=ATTEMPTS - 1)
    try:
        store.fetch(path.name, downloader=attempt)
    except requests.RequestException as error:
        raise _fault(error, url)[0] from None

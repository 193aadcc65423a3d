"""One file over HTTP: pooch tries again; this says how long to wait, how much to take, when to give up, and why.

A server is not trusted: the time of an attempt has a limit, silent or dripping, and so has the size of a file, before
and after it is decompressed. It goes to the disk in pieces, so that memory does not depend on what is sent.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests

from transformer_spectrum.runtime.addresses import PORTS, without_password
from transformer_spectrum.runtime.errors import InputError, shortened
from transformer_spectrum.runtime.progress import Progress

CONNECT_SECONDS = 4.0  # to resolve the name and open a connection; all of a host's addresses together
READ_SECONDS = 30.0  # without a single byte
TOTAL_SECONDS = 900.0  # of one attempt, whatever the server does
ATTEMPTS = 3  # pooch waits 1 s before the second and 2 s before the third
LARGEST = 2**28  # bytes of a file, decompressed; the exports have 9 and 25 million
REDIRECTS = 5
PIECE = 2**16


class Unreachable(Exception):
    """A source cannot be had; the message is the reason in a few words."""


class _Refused(requests.ConnectionError):
    """Nobody listens there; a moment later somebody may."""


class _CutShort(requests.ConnectionError):
    """The body ended before its announced length."""


class _Final(Exception):
    """Ends the attempts; carries what is to be raised."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


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


def _fault(error: Exception, url: str) -> tuple[Exception, bool]:
    """What to say of an error, and whether another attempt may succeed."""
    match error:
        case requests.HTTPError(response=answer):
            busy = answer.status_code == 429 or answer.status_code >= 500
            return Unreachable(f"HTTP {answer.status_code} {shortened(answer.reason or '', 60)}".strip()), busy
        case _CutShort() | requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            words = "the connection closed before the whole file had come; cut short"
            return InputError(f"{without_password(url)}: {words}"), True
        case requests.Timeout():
            return Unreachable(f"no answer within {READ_SECONDS:g} s"), False
        case requests.exceptions.SSLError():
            return Unreachable("no secure connection (TLS)"), False
        case requests.TooManyRedirects():
            return Unreachable(f"more than {REDIRECTS} redirects"), False
        case _Refused():
            return Unreachable(str(error)), True
        case requests.exceptions.InvalidSchema():
            return Unreachable("a redirect to what is no http(s) URL"), False
        case requests.ConnectionError():
            return Unreachable("the connection broke"), True
    # Whatever else requests, urllib3 and http.client make of an answer that they cannot read.
    return Unreachable(f"an answer that is no HTTP ({type(error).__name__}: {shortened(error, 100)})"), False


class _Session(requests.Session):
    """Follows few redirects, and none from a secure connection to an open one."""

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = REDIRECTS
        self.headers["Accept-Encoding"] = "gzip"

    def rebuild_method(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Is asked before each redirect."""
        super().rebuild_method(prepared_request, response)
        schemes = [urlsplit(str(address)).scheme for address in (response.url, prepared_request.url)]
        if schemes == ["https", "http"]:
            raise requests.exceptions.InvalidSchema("from https to http")


def _raw_pieces(answer: requests.Response) -> Iterator[bytes]:
    """The body as it is sent, as soon as it comes."""
    from urllib3 import exceptions

    try:
        while piece := answer.raw.read1(PIECE, decode_content=False):
            yield piece
    except (exceptions.ReadTimeoutError, TimeoutError) as error:
        raise requests.Timeout(error) from None
    except exceptions.IncompleteRead as error:
        raise _CutShort(error) from None
    except exceptions.ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from None
    if answer.raw.length_remaining:
        raise _CutShort()


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    """The body, decompressed piece by piece, however much a few bytes may stand for."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        yield from _raw_pieces(answer)
        return
    if encoding not in ("gzip", "x-gzip"):
        raise _Final(Unreachable(f"an answer in the encoding {shortened(encoding, 40)}; asked for was gzip"))
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for packed in _raw_pieces(answer):
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, PIECE)
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(error) from None
    if not unpacker.eof:
        raise _CutShort()


@dataclass
class _Transfer:
    """One attempt, in a thread of its own, because no timeout of requests holds for all of it.

    Attributes:
        url: of the file.
        file: where to.
        title: of the progress.
        largest: bytes of it.
        abandoned: nobody waits any more.
        outcome: what ended it, None where all is there.
    """

    url: str
    file: str
    title: str
    largest: int
    abandoned: threading.Event = field(default_factory=threading.Event)
    outcome: queue.SimpleQueue[BaseException | None] = field(default_factory=queue.SimpleQueue)

    def run(self) -> None:
        """Waits for the end of the transfer, TOTAL_SECONDS at most, and raises what ended it."""
        threading.Thread(target=self._try, daemon=True).start()
        try:
            error = self.outcome.get(timeout=TOTAL_SECONDS)
        except queue.Empty:
            raise _Final(Unreachable(f"not the whole file within {TOTAL_SECONDS:g} s")) from None
        finally:
            self.abandoned.set()
        if error is not None:
            raise error

    def _try(self) -> None:
        try:
            self._transfer()
            self.outcome.put(None)
        except BaseException as error:  # is raised where it is waited for
            self.outcome.put(error)

    def _transfer(self) -> None:
        with (
            _Session() as session,
            session.get(self.url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as answer,
        ):
            answer.raise_for_status()
            announced = answer.headers.get("Content-Length", "")
            is_number = announced.isascii() and announced.isdigit() and len(announced) < 20
            total = int(announced) if is_number and "Content-Encoding" not in answer.headers else 0
            self._check(total)
            with Progress(self.title, total, unit="B", ends=False) as progress:
                self._write(answer, progress)

    def _write(self, answer: requests.Response, progress: Progress) -> None:
        count = 0
        pieces = _pieces(answer)
        try:
            stream = open(self.file, "wb")  # noqa: SIM115
        except OSError as error:
            raise _Final(error) from None
        with stream:
            for piece in pieces:
                count += len(piece)
                self._check(count)
                if self.abandoned.is_set():
                    return
                try:
                    stream.write(piece)
                except OSError as error:  # a full disk is no fault of the server
                    raise _Final(error) from None
                progress.update(count)

    def _check(self, count: int) -> None:
        if count > self.largest:
            words = f"has more than {self.largest:,} bytes; is not the file that was asked for"
            raise _Final(InputError(f"{without_password(self.url)}: {words}"))


def download(url: str, path: Path, largest: int | None = None) -> None:
    """Downloads `url` to `path`, which must not exist; up to three attempts, with progress shown.

    What may pass is tried again: HTTP 429 and 5xx, a refused or broken connection, a body cut short. What has
    used up its time, or will not change (HTTP 404, an unknown host, a file too large), is not.

    Args:
        url: http(s).
        path: its folder exists.
        largest: bytes that the file may have, decompressed; None: LARGEST.
    Raises:
        Unreachable: no answer, or an answer that is not the file.
        InputError: the file was cut short each time, or is too large.
        OSError: the disk is full.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # it announces every download, its checksum and every attempt

    def attempt(url: str, file: str, store: pooch.Pooch) -> None:
        """Raises what pooch tries again, which is what requests raises, only where that may help."""
        try:
            _knock(url)
            _Transfer(url, file, path.name, LARGEST if largest is None else largest).run()
        except (_Final, Unreachable):
            raise
        except Exception as error:  # by kind and not by list: parsers of foreign bytes raise many
            reason, may_pass = _fault(error, url)
            if may_pass:
                raise
            raise _Final(reason) from None

    registry, urls = {path.name: None}, {path.name: url}
    store = pooch.create(path.parent, "", registry=registry, urls=urls, retry_if_failed=ATTEMPTS - 1)
    try:
        store.fetch(path.name, downloader=attempt)
    except _Final as final:
        raise final.reason from None
    except requests.RequestException as error:
        raise _fault(error, url)[0] from None

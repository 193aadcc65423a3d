"""A server on the loopback that sends whatever bytes it is told to, as slowly as it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket], None]


def sends(*pieces: bytes) -> Answer:
    """The bytes, and then an end."""

    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


def head(*fields: str, status: str = "200 OK") -> bytes:
    """A status line and header fields."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1")


def slowly(start: bytes, piece: bytes, seconds: float) -> Answer:
    """A start, and then a piece again and again for ever."""
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        while not ended.wait(seconds):
            connection.sendall(piece)

    return answer


@contextlib.contextmanager
def hostile(answer: Answer) -> Iterator[str]:
    """Its address while it listens; every request gets the answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            if connection.recv(2**16):  # nothing: only a knock
                answer(connection)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(2**16):  # a reset would take away what has not been read yet
                    pass

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/file.csv"
    finally:
        over.set()
        thread.join()
        listener.close()

"""Addresses of sources and servers: which of them are URLs, and what messages may show."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}


def is_url(address: str) -> bool:
    """Whether an address is an http(s) URL with a host and a usable port.

    >>> [is_url(address) for address in ("https://host/x.csv", "http://host:99999/x.csv", "data/raw")]
    [True, False, False]
    """
    try:
        fields = urlsplit(address)
        return fields.scheme in PORTS and bool(fields.hostname) and fields.port != 0
    except ValueError:
        return False


def without_password(address: str) -> str:
    """An address without the user name and password that a URL may hold.

    >>> without_password("https://user:secret@host/x.csv")
    'https://host/x.csv'
    """
    return re.sub(r"//[^/@]*@", "//", address)

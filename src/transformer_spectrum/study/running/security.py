"""Who may talk to whom: Dask unpickles what it receives, so off loopback it has to be encrypted and authenticated."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:
    from distributed.security import Security

REASON = "Dask runs what it receives"


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine, as its own processes alone reach it.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.5", "node7", None)]
    [True, True, True, False, False, False, False]
    """
    if host is None or host == "localhost":
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(label: str, address: str) -> None:
    """Refuses the address of a scheduler or a worker with which one cannot talk safely.

    Args:
        label: how a message calls it.
        address: such as tls://node7:8786.
    Raises:
        InputError: it is none, or tcp:// off loopback.

    >>> check_address("--scheduler", "tcp://127.0.0.1:8786")
    >>> check_address("--scheduler", "tcp://10.0.0.5:8786")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --scheduler = tcp://10.0.0.5:8786: must be tls:// off loopback, \
because Dask runs what it receives
    """
    try:
        fields = urlsplit(address)
        usable = fields.scheme in ("tcp", "tls") and bool(fields.hostname) and bool(fields.port)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"{label} = {address}: must be tls://HOST:PORT, or tcp://127.0.0.1:PORT on this machine")
    if fields.scheme == "tcp" and not is_loopback(fields.hostname):
        raise InputError(f"{label} = {address}: must be tls:// off loopback, because {REASON}")


def client_security(
    address: str, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
) -> Security:
    """What a client shows to a scheduler: files that are named here, else those of Dask's own configuration.

    Args:
        address: of the scheduler, see `check_address`.
        ca: certificate of the authority that has signed both sides'.
        cert: our certificate.
        key: our private key; None = it is in the file of the certificate.
    Raises:
        InputError: tls:// without certificates, certificates without tls://, or a file that is not there.

    >>> client_security("tls://node7:8786")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: --scheduler = tls://node7:8786: needs --tls-ca and --tls-cert, \
or distributed.comm.tls.ca-file and client.cert in Dask's configuration
    """
    from distributed.security import Security

    options = {"--tls-ca": ca, "--tls-cert": cert, "--tls-key": key}
    for option, path in options.items():
        if path is not None and not path.is_file():
            raise InputError(f"{option} = {path}: no such file")
    fields = {"tls_ca_file": ca, "tls_client_cert": cert, "tls_client_key": key}
    named: dict[str, Any] = {field: str(path) for field, path in fields.items() if path is not None}
    if address.startswith("tcp"):
        if named:
            raise InputError(f"--scheduler = {address}: must be tls:// where certificates are given")
        return Security()
    security: Any = Security(**named, require_encryption=True)  # its fields are slots that no annotation declares
    if not (security.tls_ca_file and security.tls_client_cert):
        rule = "needs --tls-ca and --tls-cert, or distributed.comm.tls.ca-file and client.cert in Dask's configuration"
        raise InputError(f"--scheduler = {address}: {rule}")
    return security

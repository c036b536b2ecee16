"""TLS of the server's port: its certificate, and those that callers must show."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from striate_service.stores.renewed import Renewed


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """Return credentials that take up renewed files with the next connection.

    Args:
        certificate: PEM, the server's own first, then those between it and the root.
        key: its private key, PEM, not encrypted.
        client_ca: PEM; callers must show a certificate that one of these has signed (mutual TLS). None: they need none.

    Raises:
        OSError, ValueError: a file cannot be read, or the files do not belong together.
    """
    files = [certificate, key] if client_ca is None else [certificate, key, client_ca]
    renewed = Renewed("certificates", files, lambda: _read(certificate, key, client_ca))

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates, or None: no change. gRPC asks before each handshake."""
        return renewed.value if renewed.refresh() else None

    return grpc.dynamic_ssl_server_credentials(
        renewed.value,
        fetch,  # type: ignore[arg-type]  # the type stubs leave out the None that gRPC documents
        require_client_authentication=client_ca is not None,
    )


def _read(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCertificateConfiguration:
    pairs = [(_bytes(key, "tls_key"), _bytes(certificate, "tls_certificate"))]
    roots = _bytes(client_ca, "tls_client_ca") if client_ca else None
    # gRPC takes any bytes, and then refuses every connection: Python's own TLS says now what is wrong with them.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(
            f"tls_certificate {certificate} and tls_key {key} are no certificate with its unencrypted key ({error})"
        ) from error
    if client_ca:
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"tls_client_ca {client_ca} holds no certificate ({error})") from error
    return grpc.ssl_server_certificate_configuration(pairs, roots)


def _bytes(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OSError(f"{setting} {file} cannot be read ({error.strerror})") from error


def _no_password() -> str:
    """Stand in for a key's password; without it, OpenSSL would ask whoever sits at the terminal."""
    return ""

"""A server's TLS: its certificate and key, read again when they are renewed.

Takes ``CpsSettings``; gives the context that new handshakes use. Connections that stand keep what
they began with.
"""

from __future__ import annotations

import ssl

from pbx_stir.cps.client_certificates import ask_for_certificates
from pbx_stir.cps.origin import is_loopback
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import ConfigurationError


class ServerTls:
    """The context in force, None for plain HTTP on loopback."""

    def __init__(self, settings: CpsSettings) -> None:
        """Read the files. Raises ``ConfigurationError`` naming what is wrong."""
        self._settings = settings
        self._current = _context(settings)

    def current(self) -> ssl.SSLContext | None:
        """Give the context for the next handshake."""
        return self._current

    def reload(self) -> None:
        """Read the files again.

        Raises ``ConfigurationError``; what was read before is then still in force, since a
        certificate and a key that do not fit may be two that are being written.
        """
        self._current = _context(self._settings)


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Make a server's TLS context from PEM files: TLS 1.2 or later, HTTP/1.1, no client asked.

    Python's ssl offers no early data. Raises ``ConfigurationError`` naming the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])

    def no_password() -> str:
        raise ConfigurationError(f"cps key {key} is encrypted", hint="store it unencrypted")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except OSError as error:
        # ssl.SSLError is an OSError too.
        raise ConfigurationError(
            f"cannot use certificate {certificate} with key {key}: {error.strerror or error}",
            hint="both are PEM files, readable by this user, and the key is the certificate's",
        ) from error
    return context


def _context(settings: CpsSettings) -> ssl.SSLContext | None:
    """Make the TLS context, or allow to do without: RFC 8816 section 7.3 recommends it."""
    if not settings.tls:
        if not is_loopback(settings.host):
            raise ConfigurationError(
                f"cps cannot listen on {settings.host} without tls",
                hint="give --certificate and --key, or listen on 127.0.0.1",
            )
        return None
    if not (settings.certificate and settings.key):
        raise ConfigurationError(
            "cps needs a certificate and its key",
            hint="give --certificate and --key, or --no-tls on loopback",
        )
    context = tls_context(settings.certificate, settings.key)
    if settings.client_certificates and settings.anchors is not None:
        ask_for_certificates(context, settings.anchors())
    return context

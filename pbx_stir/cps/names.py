"""The names of a CPS: what a request that is meant for it may call it.

Takes what the configuration or a TLS certificate says; gives host names and addresses in lower
case, without ports. A signed request or a storage token for another name is for another CPS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from pbx_stir.errors import ConfigurationError

# a DNS name, an IPv4 address, or an IPv6 address with or without brackets
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})|\[?[0-9A-Fa-f:.]{2,45}\]?", re.ASCII)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def cps_names(configured: Sequence[str], *, certificate: str = "") -> frozenset[str]:
    """Give the configured names, else those of a certificate's file, else those of loopback.

    Wildcards name no host and are left out. Raises ``ConfigurationError`` for a configured name
    that is none, or where the certificate cannot be read or none of its names is left.
    """
    for each in configured:
        if not _NAME.fullmatch(each):
            raise ConfigurationError(
                f"cps.names holds {each[:80]!r}, which is no host",
                hint="a host name or an address, without scheme and port",
            )
    if configured:
        return frozenset(each.strip("[]").lower() for each in configured)
    if not certificate:
        return LOOPBACK_NAMES
    found = frozenset(each.lower() for each in _subject_names(certificate) if "*" not in each)
    if not found:
        raise ConfigurationError(
            f"certificate {certificate} names no host that a request could be for",
            hint="say under which names the service is reached in cps.names",
        )
    return found


def _subject_names(certificate: str) -> list[str]:
    """Read DNS names and addresses of a PEM file's first certificate."""
    try:
        leaf = x509.load_pem_x509_certificates(Path(certificate).read_bytes())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (OSError, ValueError, TypeError, x509.InvalidVersion, Warning) as error:
        raise ConfigurationError(f"cannot read the names in certificate {certificate}") from error
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return [*names.get_values_for_type(x509.DNSName), *addresses]

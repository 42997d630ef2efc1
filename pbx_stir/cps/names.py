"""The names of a CPS: what a request that is meant for it may call it.

Takes what the configuration or a TLS certificate says; gives host names and addresses in lower
case, without ports. A signed request or a storage token for another name is for another CPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from pbx_stir.errors import ConfigurationError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def cps_names(configured: Sequence[str], *, certificate: str = "") -> frozenset[str]:
    """Give the configured names, else those of a certificate's file, else those of loopback.

    Wildcards name no host and are left out. Raises ``ConfigurationError`` where the certificate
    cannot be read or none of its names is left.
    """
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

"""The trust anchors that an administrator configured, read from PEM files.

Takes glob patterns, gives ``Anchors``, an immutable set. Reads files and nothing else; whether a
path leads to an anchor, and whether the anchor is still valid, is stir.certificate's to judge.
Source: RFC 5280 section 6.1.1 (d), RFC 8226 section 4.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from pbx_stir.errors import ConfigurationError, MalformedCertificate
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.chain import check_readable
from pbx_stir.stir.profile import is_authority, name_of

MAX_FILE_OCTETS = 1 << 20
MAX_ANCHORS = 1000

_PRIVATE_KEY = b"PRIVATE KEY-----"


def load(patterns: Sequence[str], *, leave_out_others: bool = False) -> Anchors:
    """Read every file that a pattern matches; a file holds one certificate or several, in PEM.

    A certificate that is in two files counts once. With ``leave_out_others`` one that is not a CA's
    is trusted for nothing, instead of being a mistake of who configured it.

    Raises ``ConfigurationError`` that names the file where one cannot be read, holds no
    certificate, one that is not a CA's, or a private key, and that names the pattern where nothing
    matches it.
    """
    found: dict[bytes, x509.Certificate] = {}
    for pattern in patterns:
        paths = sorted(glob.glob(pattern))
        if not paths:
            raise ConfigurationError(
                f"no file matches {pattern!r}",
                hint="put the PEM certificates of the authorities that you trust there",
            )
        for path in paths:
            for certificate in _read(Path(path), leave_out_others):
                found[certificate.public_bytes(serialization.Encoding.DER)] = certificate
    if len(found) > MAX_ANCHORS:
        raise ConfigurationError(f"{len(found)} trust anchors, more than {MAX_ANCHORS}")
    return Anchors.of(found.values())


class AnchorFiles:
    """The anchors in use, and how to read them again.

    A set never changes while it is looked at: a reload puts a new one in its place.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Read the files. Raises as ``load`` does."""
        self._patterns = tuple(patterns)
        self._current = load(self._patterns)

    def current(self) -> Anchors:
        """Give the set that was read last."""
        return self._current

    def reload(self) -> Anchors:
        """Read the files again and give the new set.

        Raises as ``load`` does; the old set is then still the current one, since a half-written
        file must not take every caller's trust away.
        """
        self._current = load(self._patterns)
        return self._current


def _read(path: Path, leave_out_others: bool) -> list[x509.Certificate]:
    """Read the certificates of one file, and give or check those that may be anchors."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if len(octets) > MAX_FILE_OCTETS:
        raise ConfigurationError(f"{path} is larger than {MAX_FILE_OCTETS} octets")
    if _PRIVATE_KEY in octets:
        raise ConfigurationError(
            f"{path} holds a private key",
            hint="an anchor file holds certificates alone; keep the key elsewhere",
        )
    try:
        certificates = x509.load_pem_x509_certificates(octets)
    # Warning: cryptography warns of odd serial numbers, and warnings may be made errors.
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, Warning) as error:
        raise ConfigurationError(
            f"{path} holds no readable PEM certificate",
            hint="a file in DER becomes PEM with: openssl x509 -inform der -in FILE",
        ) from error
    if leave_out_others:
        return [one for one in certificates if _may_be_authority(one)]
    authorities = [certificate for certificate in certificates if _is_authority(certificate, path)]
    if len(authorities) < len(certificates):
        # trusting a leaf would trust nobody, silently
        other = next(one for one in certificates if one not in authorities)
        raise ConfigurationError(
            f"{path} holds {name_of(other)!r}, which is not the certificate of an authority",
            hint="name the authority's own certificate, not one that it issued",
        )
    return authorities


def _may_be_authority(certificate: x509.Certificate) -> bool:
    try:
        check_readable(certificate)
        return is_authority(certificate)
    except MalformedCertificate:
        return False


def _is_authority(certificate: x509.Certificate, path: Path) -> bool:
    try:
        check_readable(certificate)
        return is_authority(certificate)
    except (MalformedCertificate, ValueError) as error:
        raise ConfigurationError(f"{path} holds a broken certificate: {error}") from error

"""Revocation lists, and who signs them, from files that an administrator named.

Takes glob patterns, gives parsed lists and certificates; reads files and nothing else. A file may
be larger than what is fetched, up to 4 MiB: nobody but the administrator chose it.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pbx_stir.errors import ConfigurationError, MalformedCertificate
from pbx_stir.stir.chain import check_readable
from pbx_stir.stir.revocation_list import MAX_OCTETS, RevocationList, parse_lists

MOST_FILES: Final = 100
_PRIVATE_KEY: Final = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Read:
    """What the files held."""

    lists: tuple[RevocationList, ...] = ()
    signers: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class RevocationFiles:
    """Patterns of files with lists (DER or PEM), and with certificates (PEM) of who signs them."""

    lists: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()

    def read(self) -> Read:
        """Read all files; blocks, and takes a while for large lists.

        Raises ``ConfigurationError`` naming the file that is missing, too large or none.
        """
        lists: list[RevocationList] = []
        for path in _matching(self.lists):
            lists += _lists_of(path)
        signers: dict[x509.Certificate, None] = {}
        for path in _matching(self.signers):
            signers.update(dict.fromkeys(_signers_of(path)))
        return Read(tuple(lists), tuple(signers))


def _matching(patterns: Sequence[str]) -> list[Path]:
    """Give the files that the patterns match; one that matches none is a mistake."""
    found: dict[str, None] = {}
    for pattern in patterns:
        names = sorted(glob.glob(pattern))
        if not names:
            raise ConfigurationError(f"no file matches {pattern!r}", hint="check the path")
        found.update(dict.fromkeys(names))
    if len(found) > MOST_FILES:
        raise ConfigurationError(f"{len(found)} revocation files, more than {MOST_FILES}")
    return [Path(name) for name in found]


def _octets_of(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            octets = stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if len(octets) > MAX_OCTETS:
        raise ConfigurationError(f"{path} is larger than {MAX_OCTETS} octets")
    return octets


def _lists_of(path: Path) -> tuple[RevocationList, ...]:
    try:
        return parse_lists(_octets_of(path))
    except MalformedCertificate as error:
        raise ConfigurationError(
            f"{path} holds no usable revocation list: {error.message}",
            hint="a complete list in DER or PEM; look at it with: openssl crl -text -in FILE",
        ) from error


def _signers_of(path: Path) -> list[x509.Certificate]:
    octets = _octets_of(path)
    if _PRIVATE_KEY in octets:
        raise ConfigurationError(f"{path} holds a private key", hint="keep the key elsewhere")
    try:
        certificates = x509.load_pem_x509_certificates(octets)
        for certificate in certificates:
            check_readable(certificate)
    # Warning: cryptography warns of odd serial numbers, and warnings may be made errors.
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        MalformedCertificate,
        Warning,
    ) as error:
        raise ConfigurationError(f"{path} holds no readable PEM certificate") from error
    return certificates

"""Certificates from files instead of x5u URLs, for judging tokens without any network.

Takes a JSON object that maps x5u URLs to PEM files, relative to it; gives what a fetch would give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography import x509

from pbx_stir.errors import CertificateUnavailable, UsageError
from pbx_stir.stir import certificate
from pbx_stir.stir.x5u import EgressRule, check_url

LARGEST_MAP: Final = 1 << 22
LARGEST_BODY: Final = 64 * 1024


class MappedCertificates:
    """A certificate source without a network. Implements services' CertificateSource."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """``files`` are PEM files by x5u URL; they are read when they are asked for."""
        self._files = files

    @classmethod
    def load(cls, name: str) -> MappedCertificates:
        """Read the map in the file ``name``.

        Raises:
            UsageError: it cannot be read, is no JSON object of texts, or names a URL twice
        """
        path = Path(name)
        try:
            with path.open("rb") as stream:
                octets = stream.read(LARGEST_MAP + 1)
            loaded = json.loads(octets, object_pairs_hook=_members)
        except OSError as error:
            raise UsageError(f"cannot read {name}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name} is not JSON: {error}") from error
        if not isinstance(loaded, dict) or not all(
            isinstance(file, str) for file in loaded.values()
        ):
            raise UsageError(f"{name} is not an object of x5u URLs and file names")
        return cls({url: path.parent / file for url, file in loaded.items()})

    def cached(self, x5u: str) -> bool:
        """Always: nobody is asked."""
        return True

    async def chain(self, x5u: str, give_up_at: float) -> tuple[x509.Certificate, ...]:
        """Return the chain in the file of ``x5u``, judged as a fetched body would be.

        Raises:
            UrlRefused, CertificateUnavailable, MalformedCertificate
        """
        checked = check_url(x5u, EgressRule())
        file = self._files.get(x5u) or self._files.get(checked.url)
        if file is None:
            raise CertificateUnavailable(f"{x5u} is not in the map")
        try:
            with file.open("rb") as stream:
                body = stream.read(LARGEST_BODY + 1)
        except (OSError, ValueError) as error:
            raise CertificateUnavailable(f"cannot read the file of {x5u}: {error}") from error
        if len(body) > LARGEST_BODY:
            raise CertificateUnavailable(f"the file of {x5u} is larger than {LARGEST_BODY} octets")
        return certificate.parse_pem_chain(body)

    async def close(self) -> None:
        """Nothing is held."""


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # which of the two files is meant nobody can tell
        raise ValueError("a URL stands twice in it")
    return members

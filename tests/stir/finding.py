"""Paths that are there, and paths that are not, for certificates of the forger."""

from __future__ import annotations

import pytest

from pbx_stir.errors import CertificateExpired, CertificateUntrusted
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy, find_path

NOW = 1_750_000_000
ACCEPT = SpcPolicy()
INSIDE = "12125551234"


def find(*issued, trust, now: float = NOW) -> Path:
    """A path from the first of ``issued``."""
    return find_path([one.cert for one in issued], Anchors.of([one.cert for one in trust]), now)


def refused(*issued, trust, now: float = NOW) -> None:
    """There is no path, and not for the time."""
    with pytest.raises(CertificateUntrusted):
        find(*issued, trust=trust, now=now)


def expired(*issued, trust, now: float = NOW) -> None:
    """There would be a path at another time."""
    with pytest.raises(CertificateExpired):
        find(*issued, trust=trust, now=now)

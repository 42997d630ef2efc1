"""The paths that were found, so that one company's certificates are not judged with every call.

Takes the DER certificates that came with a PASSporT, the anchors and the time; gives what
``stir.certificate.find_path`` gives for them, or raises what it raises. A path is remembered under
all octets of its chain and the set of anchors, while each certificate of it is valid and for
``KEPT_SECONDS`` at most. That a chain leads nowhere is remembered apart, and for a shorter time:
who has no certificate under an anchor can push out no path. What a path covers, its constraints,
revocation and the signature are asked anew for each call.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from pbx_stir.errors import (
    CertificateExpired,
    CertificateUntrusted,
    Malformed,
    MalformedCertificate,
    Refused,
)
from pbx_stir.stir import certificate
from pbx_stir.stir.certificate import Anchors, Path

MOST_PATHS: Final = 256
KEPT_SECONDS: Final = 300.0
# chains that anybody may have made: many, and soon forgotten
MOST_REFUSED: Final = 4096
REFUSED_SECONDS: Final = 30.0
_REFUSALS = (CertificateUntrusted, CertificateExpired, MalformedCertificate)


class KnownPaths:
    """``find`` finds a path, or remembers it."""

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, tuple[Path, float]] = OrderedDict()
        self._refused: OrderedDict[bytes, tuple[Malformed | Refused, float]] = OrderedDict()

    def knows(self, chain: Sequence[bytes], anchors: Anchors) -> bool:
        """Whether ``chain`` led to an anchor a while ago."""
        return _name(chain, anchors) in self._found

    def find(self, chain: Sequence[bytes], anchors: Anchors, now: float) -> Path:
        """The path of ``chain``, leaf first; ``now`` in seconds since the epoch.

        Raises ``CertificateUntrusted``, ``CertificateExpired``, ``MalformedCertificate``.
        """
        name = _name(chain, anchors)
        path = self._recall(name, now)
        if path is not None:
            return path
        self._refuse_again(name, now)
        try:
            path = certificate.find_path(certificate.parse_chain(chain), anchors, now)
        except _REFUSALS as error:
            self._refused[name] = (error, now)
            if len(self._refused) > MOST_REFUSED:
                self._refused.popitem(last=False)
            raise
        # one that overreaches is the second best: another may be in force soon
        if not path.overreaches():
            self._found[name] = (path, now)
            if len(self._found) > MOST_PATHS:
                self._found.popitem(last=False)
        return path

    def _refuse_again(self, name: bytes, now: float) -> None:
        """Whoever stores a chain that leads nowhere pays once for us to find out, not each call."""
        refused = self._refused.get(name)
        if refused is None:
            return
        error, since = refused
        if since <= now < since + REFUSED_SECONDS:
            raise type(error)(error.message, hint=error.hint)
        del self._refused[name]

    def _recall(self, name: bytes, now: float) -> Path | None:
        found = self._found.get(name)
        if found is None:
            return None
        path, since = found
        # the last second of notAfter belongs to it (RFC 5280 section 4.1.2.5); a clock that was
        # set back asks again, since a certificate may not be valid yet
        if not (since <= now < since + KEPT_SECONDS and int(now) <= path.not_after):
            del self._found[name]
            return None
        self._found.move_to_end(name)
        return path


def _name(chain: Sequence[bytes], anchors: Anchors) -> bytes:
    digest = hashlib.sha256(anchors.digest)
    for der in chain:
        digest.update(len(der).to_bytes(4, "big"))
        digest.update(der)
    return digest.digest()

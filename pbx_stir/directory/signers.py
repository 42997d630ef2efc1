"""Whose certificates are revoked, of those who sign records. Known off the call path.

Takes paths as records are checked, gives yes or no from memory. A revocation list or OCSP answer
that is lacking is fetched by the source in the background; until it has come a signer counts as the
policy says (services' RevocationSource): under ``soft`` it is taken, and refused from the moment
that it is known to be revoked. The last ``MOST_SIGNERS`` are looked at again by ``review``, some at
a time, others when their records are looked up the next time.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from cryptography.hazmat.primitives import hashes

from pbx_stir.errors import Refused, Unavailable
from pbx_stir.services.judgement import RevocationSource
from pbx_stir.stir.certificate import Path

MOST_SIGNERS: Final = 2_000
# a few milliseconds' work, in which no call is served
REVIEWED_AT_ONCE: Final = 32


class Signers:
    """The certificates behind the records that are held, by fingerprint."""

    def __init__(self, revocation: RevocationSource | None = None) -> None:
        """Without ``revocation`` nobody is refused."""
        self._revocation = revocation
        self._paths: OrderedDict[bytes, Path] = OrderedDict()
        self._refused: dict[bytes, str] = {}
        self._next: list[bytes] = []

    def note(self, path: Path, now: float) -> None:
        """Look at a path, and at it again from now on."""
        if self._revocation is None:
            return
        leaf = fingerprint(path)
        self._paths[leaf] = path
        self._paths.move_to_end(leaf)
        self._judge(leaf, path, now, self._revocation)
        while len(self._paths) > MOST_SIGNERS:
            oldest, _ = self._paths.popitem(last=False)
            self._refused.pop(oldest, None)

    def review(self, now: float) -> None:
        """Look at the next ones again, all of them in turn; what has expired is forgotten."""
        if self._revocation is None:
            return
        self._next = self._next or list(self._paths)
        batch, self._next = self._next[:REVIEWED_AT_ONCE], self._next[REVIEWED_AT_ONCE:]
        for leaf in batch:
            path = self._paths.get(leaf)
            if path is None or path.not_after < now:
                self._paths.pop(leaf, None)
                self._refused.pop(leaf, None)
            else:
                self._judge(leaf, path, now, self._revocation)

    def why_refused(self, leaf: bytes) -> str:
        """Say why the certificate with this fingerprint is refused, empty where it is not."""
        return self._refused.get(leaf, "")

    def _judge(self, leaf: bytes, path: Path, now: float, revocation: RevocationSource) -> None:
        try:
            revocation.check(path, now)
        except (Refused, Unavailable) as error:
            self._refused[leaf] = f"a record of {path.signer!r}: {error.message}"
        else:
            self._refused.pop(leaf, None)


def fingerprint(path: Path) -> bytes:
    """Give the SHA-256 of a path's leaf."""
    return path.leaf.fingerprint(hashes.SHA256())

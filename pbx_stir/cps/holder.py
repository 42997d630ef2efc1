"""Retrievals signed by a number's holder (RFC 9888 section 6).

Takes our credentials and the CPSs that are to see who asks; gives the header field that a retrieval
carries. A CPS may give what is stored for a number to its holder alone: "the STIR credential of the
terminating domain can be used by the CPS to determine the range of TNAuthLists for which an OOB-VS
is entitled to receive PASSporTs". To any other CPS nothing is signed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from pbx_stir.cps.origin import CpsUrl
from pbx_stir.errors import Malformed
from pbx_stir.stir import signed_request
from pbx_stir.stir.credential import Credential

_log = logging.getLogger(__name__)


class Holder:
    """Signs what is retrieved from some CPSs, with the credential that covers the number."""

    def __init__(self, credentials: Sequence[Credential], cps: Iterable[str]) -> None:
        """``cps`` are the URLs of those that get signed requests."""
        self._credentials = tuple(credentials)
        self._places = frozenset(_place(one) for one in cps)

    def authorization(
        self, origin: CpsUrl, path: str, number: str, now: float
    ) -> Mapping[str, str]:
        """Give the ``Authorization`` of a GET for ``number``, or nothing where none is due.

        ``path`` is as ``CpsUrl.url`` takes it, ``now`` the CPS's time in epoch seconds.
        """
        if _place(origin.base) not in self._places:
            return {}
        credential = signer_of(self._credentials, number, now)
        return {} if credential is None else authorization(credential, origin, path, now)


def signer_of(credentials: Sequence[Credential], number: str, now: float) -> Credential | None:
    """Choose who signs for a number: who lists it before one with codes only."""
    fitting = [one for one in credentials if one.valid_at(now) and one.covers(number)]
    return min(fitting, key=lambda one: not one.tn_auth_list.has_numbers, default=None)


def authorization(
    credential: Credential, origin: CpsUrl, path: str, now: float
) -> Mapping[str, str]:
    """Give the ``Authorization`` of one GET, with a nonce of its own.

    Nothing where the chain is too long for it: the CPS then answers as to a stranger.
    """
    try:
        value = signed_request.sign_request(
            signed_request.RETRIEVAL,
            audience=origin.host,
            method="GET",
            path=origin.url(path).raw_path_qs,
            body=b"",
            now=now,
            credential=credential,
        )
    except Malformed as error:
        _log.error("a retrieval cannot be signed: %s", error.message)
        return {}
    return {"Authorization": value}


def _place(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL, so that one CPS has one name."""
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname or "", parts.port or default

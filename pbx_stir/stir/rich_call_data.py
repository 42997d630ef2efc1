"""Rich call data: who a caller says to be, signed (RFC 9795).

Takes a parsed PASSporT of any kind, gives the name and the reason that its ``rcd`` and ``crn``
claims hold, and says whether its ``rcdi`` digests agree with what they are of. Nothing that it
names is ever fetched: pictures and cards by URL stay unlooked at.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pbx_stir.errors import MalformedPassport
from pbx_stir.stir import jws
from pbx_stir.stir.passport import Passport

RCD: Final = "rcd"
LONGEST_TEXT: Final = 256
MOST_DIGESTS: Final = 16
_HASHES: Final = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_TEXTS: Final = ("nam", "apn", "icn", "jcl")


@dataclass(frozen=True, slots=True)
class RichCallData:
    """What a PASSporT says of its caller; raw, as the signer has worded it."""

    name: str = ""
    reason: str = ""


def read(token: Passport) -> RichCallData:
    """Give what ``token`` says of its caller, empty where it says nothing.

    Raises MalformedPassport: a PASSporT of ppt "rcd" without ``rcd``, wrong types, or a digest in
    ``rcdi`` that is not that of what it names. Source: RFC 9795 sections 5 to 8.
    """
    claims = token.claims
    if "rcd" not in claims:
        if token.ppt == RCD:
            raise MalformedPassport("rcd is missing")
        return RichCallData(reason=_reason(claims))
    rcd = claims["rcd"]
    if not isinstance(rcd, dict):
        raise MalformedPassport("rcd is not an object")
    for key in _TEXTS:
        if key in rcd and not isinstance(rcd[key], str):
            raise MalformedPassport(f"rcd.{key} is not a string")
    # "the "nam" key (...) MUST be present", RFC 9795 section 5.1.1
    name = rcd.get("nam")
    if not isinstance(name, str) or len(name) > LONGEST_TEXT:
        raise MalformedPassport("rcd.nam is missing or too long")
    if "jcd" in rcd and not isinstance(rcd["jcd"], list):
        raise MalformedPassport("rcd.jcd is not a jCard")
    if "jcd" in rcd and "jcl" in rcd:
        raise MalformedPassport("rcd has both jcd and jcl")
    _check_digests(rcd, claims.get("rcdi"))
    return RichCallData(name, _reason(claims))


def claims(name: str, reason: str) -> dict[str, object]:
    """Give the claims that say ``name`` and ``reason`` of a caller, none for what is empty.

    Both are text of up to ``LONGEST_TEXT`` characters. Source: RFC 9795 sections 5.1.1 and 5.2.
    """
    said: dict[str, object] = {}
    if name:
        said["rcd"] = {"nam": name}
    if reason:
        said["crn"] = reason
    return said


def _reason(claims: Mapping[str, object]) -> str:
    reason = claims.get("crn", "")
    if not isinstance(reason, str) or len(reason) > LONGEST_TEXT:
        raise MalformedPassport("crn is not a string of up to 256 characters")
    return reason


def _check_digests(rcd: Mapping[str, object], rcdi: object) -> None:
    """Hold ``rcdi`` against what it is of, where that stands in the PASSporT itself."""
    if rcdi is None:
        return
    if not isinstance(rcdi, dict) or not 1 <= len(rcdi) <= MOST_DIGESTS:
        raise MalformedPassport("rcdi is not an object of digests")
    for pointer, digest in rcdi.items():
        if not isinstance(digest, str):
            raise MalformedPassport("a digest in rcdi is not a string")
        name, _, encoded = digest.partition("-")
        if name not in _HASHES or not encoded:
            raise MalformedPassport(f"rcdi has a digest of kind {name[:20]!r}")
        if pointer.startswith(("/jcl", "/icn")):
            # of what a URL names, or inside it: nobody fetches that here, and nobody is shown it
            continue
        found, value = _pointed_at(rcd, pointer)
        if not found:
            raise MalformedPassport(f"rcdi names {pointer[:60]!r}, which is not there")
        if isinstance(value, str):
            # a URI: the digest is of what it names, which nobody fetches here
            continue
        octets = jws.canonical_octets(value)
        expected = base64.b64encode(_HASHES[name](octets).digest()).decode()
        if encoded.rstrip("=") != expected.rstrip("="):
            raise MalformedPassport(f"rcdi does not agree with {pointer[:60]!r}")


def _pointed_at(rcd: Mapping[str, object], pointer: str) -> tuple[bool, object]:
    """Follow a JSON pointer (RFC 6901) from ``rcd``; whether it leads anywhere, and where to."""
    if not pointer.startswith("/") or len(pointer) > LONGEST_TEXT:
        return False, None
    value: object = rcd
    for step in pointer[1:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 5:
            if int(key) >= len(value):
                return False, None
            value = value[int(key)]
        else:
            return False, None
    return True, value

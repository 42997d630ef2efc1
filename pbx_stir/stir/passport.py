"""PASSporTs: signed statements of who calls whom, and when (RFC 8225, RFC 8588).

Takes tokens and Identity header values, gives frozen ``Passport`` values; makes and signs them;
says whether a key's signature holds, and under which name a PASSporT is used once. It judges form
alone: whether orig and dest are this call's, whether iat is fresh, which ``ppt`` are supported and
whom to trust is for others. It never fetches x5u, and looks at no ``jwk`` or ``x5c`` of a header.

What is malformed, beside what ``jws`` refuses (segments, base64url, JSON, alg, crit, signature):

* header: ``typ`` other than "passport"; ``x5u`` missing, empty or no string; ``ppt`` empty or no
  string (letter case counts). Unknown members are allowed.
* ``iat``: missing, or anything but a JSON integer from 0 to 2**53 - 1: no string, true, 1.0, 18e8.
* ``orig``: anything but an object with one member, either ``tn`` or ``uri``, a string.
* ``dest``: anything but an object with ``tn``, ``uri`` or both, arrays of at least one string.
* ``tn``: anything but 1 to 15 ASCII digits; one "+" before them is tolerated and dropped. ``*`` and
  ``#``, which RFC 8224 keeps in local dial strings, are refused: those are no telephone numbers.
* ``uri``: anything but an absolute URI of printable ASCII characters.
* "shaken" (RFC 8588): ``attest`` other than "A", "B" or "C"; ``origid`` empty or no string.
* the compact form (RFC 8225 section 7), which leaves out x5u and claims: full form only.

Unknown claims are allowed. JSON that is not canonical is accepted where its signature holds over
the octets received.

Source: RFC 8225, RFC 8588, RFC 8224 section 4, RFC 8816 section 8.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.errors import Malformed, MalformedPassport
from pbx_stir.stir import jws
from pbx_stir.stir.digits import MAX_DIGITS, canonical

FRESHNESS_SECONDS: Final = 60
FUTURE_TOLERANCE_SECONDS: Final = 5
MAX_OCTETS: Final = 16_384
TYP: Final = "passport"
SHAKEN: Final = "shaken"
ATTESTATIONS: Final = ("A", "B", "C")

_MAX_IDENTITY: Final = MAX_OCTETS + 4_096
_MAX_IAT: Final = 2**53 - 1
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_INFO_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-~]+")
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_LINE: Final = re.compile(r"[\t -~]*")
_WORD: Final = r"[A-Za-z0-9.!%*_+`'~-]+"
_PARAMETER: Final = re.compile(
    rf"[ \t]*;[ \t]*({_WORD})(?:[ \t]*=[ \t]*(<[^<>\"]*>|\"[^\"\\]*\"|{_WORD}))?"
)
_OURS: Final = frozenset({"iat", "orig", "dest", "attest", "origid", "jti"})


@dataclass(frozen=True, slots=True)
class Passport:
    """One PASSporT in full form; two are equal when their tokens are.

    ``token``: the three segments as received. ``ppt``: "" for a base PASSporT. ``orig`` or
    ``orig_uri`` is "". ``orig`` and ``dest`` are canonical numbers, the URIs as they stand.
    ``iat``: seconds since 1970. ``attest`` and ``origid`` are "" unless ``ppt`` is "shaken".
    ``claims``: the decoded payload, read-only at its top. ``signature``: r‖s, 64 octets.
    """

    token: str
    x5u: str = field(compare=False)
    ppt: str = field(compare=False)
    orig: str = field(compare=False)
    orig_uri: str = field(compare=False)
    dest: tuple[str, ...] = field(compare=False)
    dest_uri: tuple[str, ...] = field(compare=False)
    iat: int = field(compare=False)
    attest: str = field(compare=False)
    origid: str = field(compare=False)
    claims: Mapping[str, object] = field(compare=False, repr=False)
    signature: bytes = field(compare=False, repr=False)

    @property
    def signing_input(self) -> bytes:
        """The octets that the signature is over: header and payload segments as received."""
        return jws.signing_input(self.token)


def parse(token: str, *, max_digits: int = MAX_DIGITS) -> Passport:
    """Read a bare token, strictly (see the module). Its signature is not checked.

    Raises MalformedPassport. ``max_digits`` above 15 is for countries with longer numbers.
    """
    try:
        parts = jws.read(token, typ=TYP, max_octets=MAX_OCTETS)
        return _passport(parts, max_digits)
    except MalformedPassport:
        raise
    except Malformed as error:
        raise MalformedPassport(error.message) from error


def _passport(parts: jws.Jws, max_digits: int) -> Passport:
    header, claims = parts.header, parts.claims
    ppt = _text(header, "ppt") if "ppt" in header else ""
    orig, orig_uri = _orig(claims.get("orig"), max_digits)
    dest, dest_uri = _dest(claims.get("dest"), max_digits)
    attest = origid = ""
    if ppt == SHAKEN:
        attest, origid = _text(claims, "attest"), _text(claims, "origid")
        if attest not in ATTESTATIONS:
            raise MalformedPassport(f"attest is {attest[:40]!r}, not A, B or C")
    return Passport(
        token=parts.token,
        x5u=_text(header, "x5u"),
        ppt=ppt,
        orig=orig,
        orig_uri=orig_uri,
        dest=dest,
        dest_uri=dest_uri,
        iat=_iat(claims.get("iat")),
        attest=attest,
        origid=origid,
        claims=claims,
        signature=parts.signature,
    )


def _text(members: Mapping[str, object], name: str) -> str:
    """Give a member that must be a string with something in it."""
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedPassport(f"{name} is missing, empty or not a string")
    return value


def _iat(value: object) -> int:
    # bool is an int to Python, not to JSON; a float, even 1.0, is not the integer it equals
    if type(value) is not int or not 0 <= value <= _MAX_IAT:
        raise MalformedPassport("iat is missing or not an integer of seconds")
    return value


def _orig(value: object, max_digits: int) -> tuple[str, str]:
    """Give (number, "") or ("", URI)."""
    # RFC 8225 section 5.2.1: "exactly one "orig" claim with exactly one identity claim object"
    if not isinstance(value, dict) or len(value) != 1:
        raise MalformedPassport("orig is not an object with exactly one identity")
    if "tn" in value:
        return _number(value["tn"], max_digits), ""
    return "", _uri(value.get("uri"))


def _dest(value: object, max_digits: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the numbers and the URIs."""
    if not isinstance(value, dict) or not ("tn" in value or "uri" in value):
        raise MalformedPassport("dest is not an object with tn or uri")
    for kind in ("tn", "uri"):
        if kind in value and not (isinstance(value[kind], list) and value[kind]):
            raise MalformedPassport(f"dest.{kind} is not an array of at least one identity")
    return (
        tuple(_number(one, max_digits) for one in value.get("tn", ())),
        tuple(_uri(one) for one in value.get("uri", ())),
    )


def claimed_number(value: object, *, max_digits: int = MAX_DIGITS) -> str:
    """Read a ``tn`` as the claims of a PASSporT hold it. Raises MalformedPassport."""
    try:
        return _number(value, max_digits)
    except MalformedPassport:
        raise
    except Malformed as error:
        raise MalformedPassport(error.message) from error


def _number(value: object, max_digits: int) -> str:
    if not isinstance(value, str):
        raise MalformedPassport("a tn is not a string")
    return canonical(value, max_digits=max_digits)


def _uri(value: object) -> str:
    if not isinstance(value, str) or not _URI.fullmatch(value):
        raise MalformedPassport("a uri is not an absolute URI")
    return value


def sign(
    *,
    orig: str,
    dest: Sequence[str],
    iat: int,
    x5u: str,
    key: ec.EllipticCurvePrivateKey,
    attest: str = "",
    origid: str = "",
    jti: str = "",
    ppt: str = "",
    extra: Mapping[str, object] | None = None,
) -> Passport:
    """Make and sign a PASSporT from one number to one or more.

    With ``attest`` it is "shaken" and needs ``origid``; without, it takes neither and is of ``ppt``
    (``extra`` then has that extension's claims), a base PASSporT by default. ``dest`` is put in
    order, each number once. ``extra`` adds claims, and replaces none. The octets are canonical
    (RFC 8225 section 9).

    Raises MalformedPassport for anything that ``parse`` would refuse, an x5u that fits no Identity
    header, and a key that is not on P-256.
    """
    if bool(attest) != bool(origid):
        raise MalformedPassport("attest and origid go together")
    if not _INFO_URI.fullmatch(x5u):
        raise MalformedPassport(f"x5u {x5u[:80]!r} is not an absolute URI")
    if extra and not _OURS.isdisjoint(extra):
        raise MalformedPassport("extra claims replace those of the PASSporT")
    if ppt == SHAKEN or (ppt and attest):
        raise MalformedPassport("a shaken PASSporT is made by its attest")
    header: dict[str, object] = {"typ": TYP, "x5u": x5u}
    if ppt:
        header["ppt"] = ppt
    claims: dict[str, object] = dict(extra or {})
    if attest:
        header["ppt"] = SHAKEN
        claims |= {"attest": attest, "origid": origid}
    if jti:
        claims["jti"] = jti
    try:
        claims["dest"] = {"tn": sorted({canonical(one, max_digits=32) for one in dest})}
        claims["orig"] = {"tn": canonical(orig, max_digits=32)}
        claims["iat"] = iat
        token = jws.sign(header, claims, key)
    except Malformed as error:
        raise MalformedPassport(error.message) from error
    # what we send must be what we would accept
    return parse(token, max_digits=32)


def signature_holds(passport: Passport, key: ec.EllipticCurvePublicKey) -> bool:
    """Tell whether ``key`` signed the octets received (RFC 8816 section 8.2 step 6). Never raises.

    False, too, where r or s is 0 or not below the group order, and for a key not on P-256.
    """
    return jws.signature_holds(passport.signing_input, passport.signature, key)


def used_key(passport: Passport) -> bytes:
    """Give the 32 octets under which a PASSporT is used once.

    SHA-256 over decoded header, payload, r and the smaller of s and n - s: whoever has a PASSporT
    can make the other signature of it, and it must not count as another PASSporT.
    """
    r, s = jws.scalars(passport.signature)
    header, payload, _ = passport.token.split(".")
    digest = hashlib.sha256()
    for octets in (
        jws.decode_segment(header),
        jws.decode_segment(payload),
        r.to_bytes(32, "big"),
        min(s, (jws.GROUP_ORDER - s) % 2**256).to_bytes(32, "big"),
    ):
        digest.update(len(octets).to_bytes(4, "big"))
        digest.update(octets)
    return digest.digest()


def identity_header(passport: Passport) -> str:
    """Give the value of an Identity header: token, info, alg and, where there is one, ppt.

    Raises MalformedPassport where x5u or ppt cannot stand in one. Source: RFC 8224 section 4.
    """
    if not _INFO_URI.fullmatch(passport.x5u):
        raise MalformedPassport("x5u cannot stand in an Identity header")
    value = f"{passport.token};info=<{passport.x5u}>;alg={jws.ALGORITHM}"
    if not passport.ppt:
        return value
    if not re.fullmatch(_WORD, passport.ppt):
        raise MalformedPassport("ppt cannot stand in an Identity header")
    # RFC 8224's grammar has ppt=token; RFC 8588 and every stack in the field write it quoted
    return f'{value};ppt="{passport.ppt}"'


def parse_identity(value: str, *, max_digits: int = MAX_DIGITS) -> Passport:
    """Read the value of an Identity header: a token and its parameters (RFC 8224 section 4).

    ``info`` stands once, in angle brackets, and equals the token's x5u; ``alg`` and ``ppt``, where
    present, stand once and equal the token's, ``ppt`` also quoted; in any order, with blanks around
    ``;`` and ``=``. Folded lines are unfolded. Other parameters are ignored. The token's x5u is the
    one in the PASSporT. Raises MalformedPassport, also for a bare token.
    """
    if len(value) > _MAX_IDENTITY:
        raise MalformedPassport(f"Identity header of more than {_MAX_IDENTITY} octets")
    line = _FOLD.sub(" ", value).strip(" \t\r\n")
    if not _LINE.fullmatch(line):
        raise MalformedPassport("the Identity header has characters that no header has")
    token, semicolon, rest = line.partition(";")
    parameters = _parameters(semicolon + rest)
    passport = parse(token.rstrip(" \t"), max_digits=max_digits)
    if parameters.get("info") != f"<{passport.x5u}>":
        raise MalformedPassport("info of the Identity header is missing or not the token's x5u")
    if parameters.get("alg", jws.ALGORITHM) != jws.ALGORITHM:
        raise MalformedPassport("alg of the Identity header is not the token's")
    if parameters.get("ppt", passport.ppt) not in {passport.ppt, f'"{passport.ppt}"'}:
        raise MalformedPassport("ppt of the Identity header is not the token's")
    if "ppt" in parameters and not passport.ppt:
        raise MalformedPassport("the Identity header has a ppt, the token has none")
    return passport


def _parameters(text: str) -> dict[str, str]:
    """Read ``;name=value`` to the end; names in small letters, values with their quotes."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            raise MalformedPassport("parameters of the Identity header cannot be read")
        name = match[1].lower()
        if name in found:
            raise MalformedPassport(f"{name[:40]!r} stands twice in the Identity header")
        found[name] = match[2] or ""
        at = match.end()
    return found

"""What the families share: tokens made octet by octet, a court of certificates, and the verdicts.

Everything hostile here is validly signed unless a case says otherwise: a verifier that looks at the
signature alone takes it all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pbx_stir.cli.main import main
from pbx_stir.stir.jws import GROUP_ORDER
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.stir.conftest import NOW, Forge, Issued

ALICE: Final = "12125551234"
BOB: Final = "13105552000"
CAROL: Final = "14155553000"
X5U: Final = "https://certificates.example.com/alice.pem"
X5U_PROVIDER: Final = "https://certificates.example.com/provider.pem"

PASSED: Final = "TN-Validation-Passed"
FAILED: Final = "TN-Validation-Failed"
NONE: Final = "No-TN-Validation"

# a file to which the tokens that must be refused are added
CORPUS: Final = os.environ.get("PBX_STIR_CORPUS", "")

DROP: Final = object()
"""As a member's value: leave the member out."""

FORGE: Final = Forge()
SHAKEN: Final = {"attest": "A", "origid": "7f3c6bd8-1f2e-4d1c-9d39-5ed1e5a8f6a0"}


def b64(octets: bytes) -> str:
    """base64url without padding, by other code than the product's."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def octets_of_json(value: object) -> bytes:
    """Canonical JSON."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def raw_signature(key: ec.EllipticCurvePrivateKey, signed: bytes) -> bytes:
    """r and s as 64 octets."""
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def high(signature: bytes) -> bytes:
    """The other signature of the same octets: n - s in the place of s."""
    s = GROUP_ORDER - int.from_bytes(signature[32:], "big")
    return signature[:32] + s.to_bytes(32, "big")


def changed(members: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Members with some replaced, added or dropped."""
    return {name: value for name, value in {**members, **changes}.items() if value is not DROP}


@dataclass(frozen=True)
class Wrong:
    """How a token differs from an honest one; all of it is signed.

    ``header`` and ``claims`` change members; ``header_octets`` and ``claims_octets`` take the place
    of the whole JSON. ``key`` signs. ``signature`` is taken instead of the right one.
    """

    header: Mapping[str, object] = field(default_factory=dict)
    claims: Mapping[str, object] = field(default_factory=dict)
    header_octets: bytes | None = None
    claims_octets: bytes | None = None
    key: ec.EllipticCurvePrivateKey | None = None
    signature: bytes | None = None


def token(key: ec.EllipticCurvePrivateKey, /, wrong: Wrong | None = None, **changes: Any) -> str:
    """A token from Alice to Bob at NOW, wrong as told; ``changes`` are the fields of ``Wrong``."""
    how = wrong or Wrong(**changes)
    header = octets_of_json(
        changed({"alg": "ES256", "typ": "passport", "x5u": X5U}, how.header)
        if how.header_octets is None
        else {}
    )
    claims = octets_of_json(
        changed({"dest": {"tn": [BOB]}, "iat": NOW, "orig": {"tn": ALICE}}, how.claims)
        if how.claims_octets is None
        else {}
    )
    segments = (
        b64(header if how.header_octets is None else how.header_octets),
        b64(claims if how.claims_octets is None else how.claims_octets),
    )
    signed = ".".join(segments)
    signature = how.signature
    if signature is None:
        signature = raw_signature(how.key or key, signed.encode())
    return f"{signed}.{b64(signature)}"


def shaken(key: ec.EllipticCurvePrivateKey, /, **changes: Any) -> str:
    """A shaken one, attested A."""
    header = {"ppt": "shaken", **changes.pop("header", {})}
    return token(key, header=header, claims=SHAKEN | changes.pop("claims", {}), **changes)


def diverted(
    key: ec.EllipticCurvePrivateKey, /, by: str, to: str, *, opt: str = "", **changes: Any
) -> str:
    """A div PASSporT, or with ``opt`` a div-o around it."""
    claims: dict[str, object] = {"div": {"tn": by}, "dest": {"tn": [to]}}
    if opt:
        claims["opt"] = opt
    header = {"ppt": "div-o" if opt else "div", **changes.pop("header", {})}
    return token(key, header=header, claims=claims | changes.pop("claims", {}), **changes)


def identity(text: str, x5u: str = X5U, *, ppt: str = "", rest: str = "") -> str:
    """An Identity header value around a token."""
    said = f';ppt="{ppt}"' if ppt else ""
    return f"{text};info=<{x5u}>;alg=ES256{said}{rest}"


@dataclass(frozen=True)
class Verdict:
    """What ``pbx-stir verify --json`` said."""

    status: int
    verdict: str
    reason: str
    attest: str
    signer: str
    rejections: tuple[dict[str, str], ...]

    @property
    def short(self) -> tuple[int, str, str]:
        """Exit status, verdict and reason."""
        return self.status, self.verdict, self.reason


class Court:
    """An authority, who signs for it, the map of their certificates; and the command that judges.

    ``key`` is Alice's, for 12125551200 to 12125551299; ``provider`` has the code 1234.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = FORGE.root()
        self.ca = FORGE.ca(self.root)
        self.alice = FORGE.leaf(self.ca, "Alice")
        self.provider = FORGE.leaf(self.ca, "Provider", tn=TnAuthList(spcs=("1234",)))
        self._map: dict[str, str] = {}
        self.serve(X5U, self.alice, self.ca)
        self.serve(X5U_PROVIDER, self.provider, self.ca)

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """Alice's key."""
        return self.alice.key  # type: ignore[return-value]

    def serve(self, x5u: str, *certificates: Issued | bytes) -> str:
        """Have a URL answer with these, one after the other; gives the URL."""
        body = b"".join(one if isinstance(one, bytes) else one.pem for one in certificates)
        # by a hash, since a URL is no file name
        name = hashlib.sha256(x5u.encode()).hexdigest()[:32] + ".pem"
        (self.folder / name).write_bytes(body)
        self._map[x5u] = name
        return x5u

    def chain(self, *certificates: Issued | bytes) -> str:
        """A fresh URL that answers with these."""
        return self.serve(f"https://c{len(self._map)}.example.com/chain.pem", *certificates)

    def signed(self, leaf: Issued, *above: Issued | bytes, **changes: Any) -> str:
        """A token signed by ``leaf``, whose x5u answers with it and what stands above."""
        x5u = self.chain(leaf, *above)
        header = {"x5u": x5u, **changes.pop("header", {})}
        return token(leaf.key, header=header, **changes)  # type: ignore[arg-type]


@dataclass
class Judging:
    """Runs the command on what it is given, with files of its own."""

    court: Court
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(
        self,
        *lines: str | bytes,
        orig: str = ALICE,
        dest: str = BOB,
        at: float | None = NOW,
        trust: Sequence[Issued] | None = None,
        options: Sequence[str] = (),
        mapped: bool = True,
    ) -> Verdict:
        """The verdict on one call with these Identity headers or tokens."""
        file, anchors, urls = (self.folder / name for name in ("identity", "trust.pem", "x"))
        octets = [one if isinstance(one, bytes) else one.encode() for one in lines]
        file.write_bytes(b"\n".join(octets))
        anchors.write_bytes(b"".join(one.pem for one in trust or [self.court.root]))
        given = ["--identity-file", str(file), "--orig", orig, "--dest", dest, "--json"]
        given += ["--trust", str(anchors)]
        if at is not None:
            given += ["--at", str(at)]
        if mapped:
            urls = self.court.folder / "map.json"
            urls.write_text(json.dumps(self.court._map))
            given += ["--certificates", str(urls)]
        self.capsys.readouterr()
        status = main(["verify", *given, *options])
        out, err = self.capsys.readouterr()
        assert err == ""
        found = json.loads(out)
        assert (status == 0) == (found["verdict"] == PASSED)
        return Verdict(
            status,
            found["verdict"],
            found["reason"],
            found["attest"],
            found["signer"],
            tuple(found["rejections"]),
        )

    def passes(self, *lines: str | bytes, **how: Any) -> Verdict:
        """The honest neighbour: it is Passed."""
        found = self(*lines, **how)
        assert found.short == (0, PASSED, "verified"), found
        if CORPUS and len(lines) == 1 and not how.keys() - {"trust"}:
            self._write_down(lines[0], "verified", how.get("trust"))
        return found

    def refuses(self, reason: str, *lines: str | bytes, **how: Any) -> Verdict:
        """The hostile one: No-TN-Validation or Failed as the reason says, and exit status 1."""
        verdict = how.pop("verdict", FAILED if reason in FAILURES else NONE)
        found = self(*lines, **how)
        assert found.short == (1, verdict, reason), found
        if CORPUS and len(lines) == 1 and not how.keys() - {"trust"}:
            self._write_down(lines[0], reason, how.get("trust"))
        return found

    def _write_down(self, line: str | bytes, reason: str, trust: Sequence[Issued] | None) -> None:
        """Add a token to the corpus, for holding other verifiers to it (bench/refusals.py)."""
        served = {
            x5u: (self.court.folder / name).read_text("latin-1")
            for x5u, name in self.court._map.items()
        }
        text = line if isinstance(line, str) else line.decode("latin-1")
        case = {
            "test": os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[2],
            "identity": text,
            "reason": reason,
            "between": self.court.ca.pem.decode(),
            "trust": "".join(one.pem.decode() for one in trust or [self.court.root]),
            "served": served,
        }
        with open(CORPUS, "a") as stream:
            stream.write(json.dumps(case) + "\n")


# of an Identity header that the call itself carried, as all lines of a file are
FAILURES: Final = frozenset({"bad-signature", "revoked", "number-not-covered"}) | {
    "constraint-violated"
}

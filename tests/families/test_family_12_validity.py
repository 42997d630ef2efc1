"""Family 12: right certificates at the wrong time. The time is now, not that of the PASSporT."""

from __future__ import annotations

import pytest

from tests.families.hostile import FORGE, NOW, Court, Judging, token
from tests.stir.conftest import Issued

DAY = FORGE.day


def chain(which: str, **validity: float) -> tuple[Issued, Issued, Issued]:
    """Leaf, authority and root; ``which`` of them has this validity."""
    of = {name: (validity if name == which else {}) for name in ("root", "ca", "leaf")}
    root = FORGE.root(**of["root"])
    ca = FORGE.ca(root, **of["ca"])
    return FORGE.leaf(ca, **of["leaf"]), ca, root


@pytest.mark.parametrize("which", ["leaf", "ca", "root"])
@pytest.mark.parametrize(
    "validity",
    [
        {"not_after": NOW - 1},
        {"not_after": NOW - DAY},
        {"not_before": NOW + 1},
        {"not_before": NOW + DAY},
        {"not_before": NOW - 2 * DAY, "not_after": NOW - DAY},
    ],
)
def test_family_12_validity_outside(
    court: Court, judging: Judging, which: str, validity: dict[str, float]
) -> None:
    """Expired or not yet valid: leaf, authority and root alike, by a second or a day."""
    leaf, ca, root = chain(which, **validity)
    judging.refuses("certificate-expired", court.signed(leaf, ca), trust=[root])


@pytest.mark.parametrize("which", ["leaf", "ca", "root"])
@pytest.mark.parametrize(
    "validity",
    [
        {"not_after": NOW},
        {"not_before": NOW},
        {"not_before": NOW, "not_after": NOW},
        {"not_after": NOW + 1},
        # GeneralizedTime, from the year 2050 on, and the end of all time
        {"not_after": 2_600_000_000},
        {"not_after": 253_402_300_799},
        {"not_before": 0},
    ],
)
def test_family_12_validity_honest(
    court: Court, judging: Judging, which: str, validity: dict[str, float]
) -> None:
    """From notBefore through notAfter, both included, in both writings of time."""
    leaf, ca, root = chain(which, **validity)
    judging.passes(court.signed(leaf, ca), trust=[root])


def test_family_12_validity_when_signed_is_not_enough(court: Court, judging: Judging) -> None:
    """Valid at iat, expired a moment later, while the PASSporT is fresh; and the reverse."""
    leaf, ca, root = chain("leaf", not_after=NOW + 10)
    text = court.signed(leaf, ca)
    judging.passes(text, trust=[root], at=NOW + 10)
    judging.passes(text, trust=[root], at=NOW + 10.9)
    judging.refuses("certificate-expired", text, trust=[root], at=NOW + 11)
    judging.refuses("certificate-expired", text, trust=[root], at=NOW + 60)
    leaf, ca, root = chain("leaf", not_before=NOW + 10)
    text = court.signed(leaf, ca)
    judging.refuses("certificate-expired", text, trust=[root], at=NOW + 9.9)
    judging.passes(text, trust=[root], at=NOW + 10)


def test_family_12_validity_and_trust(court: Court, judging: Judging) -> None:
    """Expired is said only where nothing but the time is wrong."""
    leaf, ca, root = chain("leaf", not_after=NOW - 1)
    judging.refuses("certificate-untrusted", court.signed(leaf, ca))
    judging.refuses("certificate-untrusted", court.signed(leaf), trust=[root])
    judging.refuses("certificate-expired", court.signed(leaf, ca), trust=[root, court.root])


def test_family_12_validity_renewed(court: Court, judging: Judging) -> None:
    """An expired authority or root beside its renewed one of the same key does no harm."""
    key = FORGE.key()
    old, new = FORGE.ca(court.root, key=key, not_after=NOW - 1), FORGE.ca(court.root, key=key)
    leaf = FORGE.leaf(new)
    for bundle in ((old, new), (new, old)):
        judging.passes(court.signed(leaf, *bundle))
    judging.refuses("certificate-expired", court.signed(leaf, old))
    old, new = FORGE.root("Aged", key=key, not_after=NOW - 1), FORGE.root("Aged", key=key)
    leaf = FORGE.leaf(new)
    judging.passes(court.signed(leaf), trust=[old, new])
    judging.passes(court.signed(leaf, old), trust=[new])
    judging.refuses("certificate-expired", court.signed(leaf, new), trust=[old])


def test_family_12_validity_other_writings_of_time(court: Court, judging: Judging) -> None:
    """Times that RFC 5280 does not write: with an offset, without seconds, a 61st second."""
    leaf = FORGE.leaf(court.ca, not_after=1_767_225_599)  # 251231235959Z
    for wrong in (b"251231235960Z", b"251231245959Z", b"251331235959Z", b"25123123595+Z"):
        der = FORGE.resign(leaf.cert, b"251231235959Z", wrong, court.ca.key)
        x5u = court.chain(_pem(der), court.ca)
        text = token(leaf.key, header={"x5u": x5u})  # type: ignore[arg-type]
        judging.refuses("certificate-untrusted", text)
    der = FORGE.resign(leaf.cert, b"251231235959Z", b"251231235958Z", court.ca.key)
    x5u = court.chain(_pem(der), court.ca)
    judging.passes(token(leaf.key, header={"x5u": x5u}))  # type: ignore[arg-type]


def _pem(der: bytes) -> bytes:
    import base64

    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"

"""Family 16: certificates that were taken back, and lists that say nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.families.hostile import DROP, FORGE, NOW, Court, Judging, token
from tests.stir import revoking
from tests.stir.conftest import DAY, Issued

TIMES: dict[str, Any] = {"this_update": NOW - 60, "next_update": NOW + DAY}


@pytest.fixture
def lists(tmp_path: Path) -> Any:
    """Writes a list, gives the option that names it."""

    def write(signer: Issued, *serials: int, **how: Any) -> tuple[str, str]:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.crl"
        file.write_bytes(revoking.crl(signer, serials, **(TIMES | how)))
        return "--crl", str(file)

    return write


def serial(issued: Issued) -> int:
    """Its serial number."""
    return issued.cert.serial_number


def test_family_16_revocation_of_the_leaf(court: Court, judging: Judging, lists: Any) -> None:
    """On the list of its issuer: revoked, also under hard; off looks at none."""
    crl = lists(court.ca, serial(court.alice), serial(court.provider))
    judging.refuses("revoked", token(court.key), options=crl)
    judging.refuses("revoked", token(court.key), options=[*crl, "--revocation", "hard"])
    judging.passes(token(court.key), options=[*crl, "--revocation", "off"])


def test_family_16_revocation_of_an_authority(court: Court, judging: Judging, lists: Any) -> None:
    """What is under a revoked authority is revoked as well."""
    judging.refuses("revoked", token(court.key), options=lists(court.root, serial(court.ca)))
    # its serial on a list of another issuer is another certificate's
    judging.passes(token(court.key), options=lists(court.ca, serial(court.ca)))


def test_family_16_revocation_by_whom_nobody_asked(
    court: Court, judging: Judging, lists: Any
) -> None:
    """A list of a stranger, of the right name and another key, or forged, revokes nobody."""
    for signer in (FORGE.root("Other"), FORGE.ca(court.root), FORGE.root(), court.alice):
        judging.passes(token(court.key), options=lists(signer, serial(court.alice)))


def test_family_16_revocation_stale(court: Court, judging: Judging, lists: Any) -> None:
    """A list whose time is over says nothing: soft goes on, hard wants a new one."""
    old = {"this_update": NOW - 9 * DAY, "next_update": NOW - 8 * DAY}
    leaf = lists(court.ca, **old)
    judging.passes(token(court.key), options=leaf)
    hard = ["--revocation", "hard"]
    judging.refuses("certificate-unavailable", token(court.key), options=[*leaf, *hard])
    good = [*lists(court.ca, 1), *lists(court.root, 1)]
    judging.passes(token(court.key), options=[*good, *hard])
    judging.refuses("certificate-unavailable", token(court.key), options=[*good[:2], *hard])


def test_family_16_revocation_not_to_be_had(court: Court, judging: Judging, lists: Any) -> None:
    """noRevAvail (RFC 9608) on the leaf: there is nothing to ask, hard is content."""
    leaf = FORGE.leaf(court.ca, extra=[(revoking.NO_REV_AVAIL, False)])
    text = court.signed(leaf, court.ca)
    judging.passes(text)
    hard = [*lists(court.root, 1), "--revocation", "hard"]
    judging.passes(text, options=hard)
    judging.refuses("certificate-unavailable", token(court.key), options=hard)


def test_family_16_revocation_comes_last(court: Court, judging: Judging, lists: Any) -> None:
    """Who has somebody's certificate, and not the key, learns nothing of lists."""
    crl = lists(court.ca, serial(court.alice))
    judging.refuses("bad-signature", token(court.key, key=FORGE.key()), options=crl)
    judging.refuses("stale", token(court.key, claims={"iat": 1}), options=crl)
    judging.refuses("malformed", token(court.key, claims={"iat": DROP}), options=crl)


def test_family_16_revocation_names_a_list_elsewhere(court: Court, judging: Judging) -> None:
    """A certificate that names lists is judged without them where nothing is fetched."""
    points = x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(
                [x509.UniformResourceIdentifier("http://169.254.169.254/latest")], None, None, None
            )
        ]
    )
    leaf = FORGE.leaf(court.ca, extra=[(points, False)])
    text = court.signed(leaf, court.ca)
    judging.passes(text)
    judging.refuses("certificate-unavailable", text, options=["--revocation", "hard"])

"""Who signs records and was revoked is found out off the call path."""

from __future__ import annotations

from typing import Any

import pytest

from pbx_stir.directory import signers as room
from pbx_stir.directory.signers import Signers, fingerprint
from pbx_stir.errors import CertificateRevoked, CertificateUnavailable, PbxStirError
from pbx_stir.stir.certificate import Path, find_path

NOW = 1_750_000_000.0


class Revocation:
    """Knows what it is told."""

    def __init__(self) -> None:
        self.known: dict[bytes, PbxStirError] = {}
        self.asked = 0

    def check(self, path: Path, now: float) -> None:
        """Refuse what is known."""
        self.asked += 1
        if fingerprint(path) in self.known:
            raise self.known[fingerprint(path)]


@pytest.fixture
def revocation() -> Revocation:
    """Nobody is revoked yet."""
    return Revocation()


def path_of(lab: Any, name: str, days: float = 7) -> Path:
    """The path of somebody's certificate."""
    return find_path([lab.credential(name, days=days).certificate], lab.anchors, NOW)


def test_without_a_source_nobody_is_refused(lab: Any) -> None:
    """revocation = "off" asks for nothing."""
    signers = Signers()
    path = path_of(lab, "Alice")
    signers.note(path, NOW)
    signers.review(NOW)
    assert signers.why_refused(fingerprint(path)) == ""


def test_what_is_learnt_later_counts_from_then_on(lab: Any, revocation: Revocation) -> None:
    """Under soft an unknown signer is taken; a review refuses the revoked, and only those."""
    signers = Signers(revocation)
    alice, bob = path_of(lab, "Alice"), path_of(lab, "Bob")
    for path in (alice, bob):
        signers.note(path, NOW)
    revocation.known[fingerprint(alice)] = CertificateRevoked("on the list")
    assert signers.why_refused(fingerprint(alice)) == ""
    signers.review(NOW)
    assert "Alice" in signers.why_refused(fingerprint(alice))
    assert signers.why_refused(fingerprint(bob)) == ""


def test_hard_refuses_what_is_not_known(lab: Any, revocation: Revocation) -> None:
    """Until the list has come, as it is for calls."""
    signers = Signers(revocation)
    alice = path_of(lab, "Alice")
    revocation.known[fingerprint(alice)] = CertificateUnavailable("no list yet")
    signers.note(alice, NOW)
    assert signers.why_refused(fingerprint(alice))
    revocation.known.clear()
    signers.review(NOW)
    assert not signers.why_refused(fingerprint(alice))


def test_a_review_is_bounded_and_meets_all(
    lab: Any, revocation: Revocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some at a time, in turn; the oldest of too many are forgotten, and what has expired."""
    monkeypatch.setattr(room, "MOST_SIGNERS", 3)
    monkeypatch.setattr(room, "REVIEWED_AT_ONCE", 2)
    signers = Signers(revocation)
    paths = [path_of(lab, f"Company {each}", days=1 + each) for each in range(4)]
    for path in paths:
        revocation.known[fingerprint(path)] = CertificateRevoked("on the list")
        signers.note(path, NOW)
    assert [bool(signers.why_refused(fingerprint(path))) for path in paths] == [False] + [True] * 3
    revocation.known.clear()
    revocation.asked = 0
    for _ in range(2):
        signers.review(NOW)
    assert revocation.asked == 3
    assert not any(signers.why_refused(fingerprint(path)) for path in paths)
    signers.review(NOW + 30 * 86_400)
    signers.review(NOW + 30 * 86_400)
    assert (signers._paths, signers._refused) == ({}, {})

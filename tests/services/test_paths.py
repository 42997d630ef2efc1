"""A path that is remembered gives what a search would give."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates import issuing
from pbx_stir.errors import CertificateExpired, CertificateUntrusted, MalformedCertificate
from pbx_stir.services import paths
from pbx_stir.services.paths import KEPT_SECONDS, KnownPaths
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.world import NOW, OTHER_ROOT, ROOT, ROOT_KEY, credential_for

ANCHORS = Anchors.of([ROOT])
CHAIN = credential_for().chain


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments of all searches."""
    moments: list[float] = []
    genuine = paths.certificate.find_path

    def counted(chain: object, anchors: object, now: float) -> object:
        moments.append(now)
        return genuine(chain, anchors, now)  # type: ignore[arg-type]

    monkeypatch.setattr(paths.certificate, "find_path", counted)
    return moments


def test_a_chain_is_searched_once(searches: list[float]) -> None:
    """The second call of a company finds the first one's path."""
    known = KnownPaths()
    first = known.find(CHAIN, ANCHORS, NOW)
    assert known.find(CHAIN, ANCHORS, NOW + 1) is first
    assert searches == [NOW]


def test_other_anchors_ask_anew(searches: list[float]) -> None:
    """An anchor that was taken away ends trust at once."""
    known = KnownPaths()
    known.find(CHAIN, ANCHORS, NOW)
    with pytest.raises(CertificateUntrusted):
        known.find(CHAIN, Anchors.of([OTHER_ROOT]), NOW)
    assert len(searches) == 2


def test_any_other_octet_asks_anew(searches: list[float]) -> None:
    """Another certificate, and the same octets divided otherwise, are another chain."""
    known = KnownPaths()
    known.find(CHAIN, ANCHORS, NOW)
    known.find(credential_for().chain, ANCHORS, NOW)
    assert len(searches) == 2
    with pytest.raises(MalformedCertificate):
        known.find([CHAIN[0][:50], CHAIN[0][50:], *CHAIN[1:]], ANCHORS, NOW)


def test_it_ends_with_the_certificate(searches: list[float]) -> None:
    """A path that is remembered expires to the second: its last one is the last that holds."""
    known = KnownPaths()
    chain = credential_for(days=100 / 86_400).chain
    not_after = known.find(chain, ANCHORS, NOW).not_after
    known.find(chain, ANCHORS, not_after + 0.5)
    assert len(searches) == 1
    with pytest.raises(CertificateExpired):
        known.find(chain, ANCHORS, not_after + 1)


@pytest.mark.parametrize("shift", [-1.0, KEPT_SECONDS])
def test_time_ends_it(searches: list[float], shift: float) -> None:
    """After a while, and when the clock was set back, it is searched again."""
    known = KnownPaths()
    known.find(CHAIN, ANCHORS, NOW)
    known.find(CHAIN, ANCHORS, NOW + shift)
    assert searches == [NOW, NOW + shift]


def test_a_leaf_that_overreaches_is_not_remembered(searches: list[float]) -> None:
    """Another path may be in force soon."""
    few = TnAuthList(numbers=("12125551200",))
    key = issuing.new_key()
    middle = issuing.issue_ca(ROOT, ROOT_KEY, key.public_key(), "Middle", NOW, 10, tn_auth_list=few)
    chain = [*credential_for(issuer=(middle, key)).chain[:1], middle.public_bytes(Encoding.DER)]
    known = KnownPaths()
    assert known.find(chain, ANCHORS, NOW).overreaches()
    known.find(chain, ANCHORS, NOW)
    assert len(searches) == 2


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, searches: list[float]) -> None:
    """The least used is forgotten first."""
    monkeypatch.setattr(paths, "MOST_PATHS", 2)
    known = KnownPaths()
    chains = [credential_for().chain for _ in range(3)]
    for index in (0, 1, 0, 2, 0):
        known.find(chains[index], ANCHORS, NOW)
    assert len(searches) == 3
    known.find(chains[1], ANCHORS, NOW)
    assert len(searches) == 4


def test_a_refusal_is_remembered_for_a_short_time(searches: list[float]) -> None:
    """Who stores a chain that leads nowhere makes us search once, not with each call."""
    known = KnownPaths()
    stranger, stranger_key = issuing.new_root("Stranger", NOW - 10, 10)
    key = issuing.new_key()
    few = TnAuthList(numbers=("12125551200",))
    leaf = issuing.issue_leaf(stranger, stranger_key, key.public_key(), "S", few, NOW, 5)
    chain = [leaf.public_bytes(Encoding.DER)]
    anchors = Anchors.of([ROOT])
    for moment in (NOW, NOW + 1, NOW + 29):
        with pytest.raises(CertificateUntrusted, match="no path"):
            known.find(chain, anchors, moment)
    assert len(searches) == 1
    assert not known.knows(chain, anchors)
    with pytest.raises(CertificateUntrusted):
        known.find(chain, anchors, NOW + 31)
    assert len(searches) == 2
    # another set of anchors is another question
    assert known.find(chain, Anchors.of([ROOT, stranger]), NOW + 32).leaf == leaf

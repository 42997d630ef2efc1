"""Advertisements from files and URLs: in force for as long as they are good, whatever comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.certificates.fetch import Fetched
from pbx_stir.directory.advertisements import (
    UNSIGNED_SECONDS,
    Advertisements,
    AdvertisementSource,
    SignedBy,
)
from pbx_stir.errors import CertificateUnavailable, ConfigurationError
from pbx_stir.stir.advertisement import (
    MAX_OCTETS,
    Advertisement,
    sign_advertisement,
    sign_pinned,
)
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.credential import Credential
from tests.directory.conftest import NOW, NUMBER, Lab

A, B, C = (f"https://{name}.example.com" for name in "abc")
DAY = 86_400
OURS = Advertisement({f"2-{NUMBER}": A})
URL = "https://directory.example.net/all"


class Web:
    """Answers of one URL."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.asked: list[str] = []

    async def fetch(self, url: str) -> Fetched:
        self.asked.append(url)
        if self.answer is None:
            raise CertificateUnavailable(f"cannot fetch {url}")
        return Fetched(self.answer)


class Desk:
    """What a test turns."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.web = Web()
        self.now = NOW
        self.anchors = lab.anchors

    def of(self, *sources: AdvertisementSource, **table: str) -> Advertisements:
        policy = SpcPolicy(
            table={prefix.strip("_"): frozenset({code}) for prefix, code in table.items()}
        )
        return Advertisements(
            sources,
            fetcher=self.web,
            anchors=lambda: self.anchors,
            spc_policy=policy,
            epoch=lambda: self.now,
            monotonic=lambda: self.now,
            draw=lambda _, longest: longest,
        )


@pytest.fixture
def desk(lab: Lab) -> Desk:
    """A desk at the lab's time."""
    return Desk(lab)


def signed(
    who: Credential, pairs: Advertisement = OURS, *, serial: int = 1, days: int = 7
) -> bytes:
    """A signed advertisement of now."""
    iat = int(NOW)
    return sign_advertisement(pairs, who, iat=iat, exp=iat + days * DAY, serial=serial).encode()


STIR = AdvertisementSource(URL, SignedBy.STIR)


async def test_a_signed_one_is_in_force_once_loaded(desk: Desk, alice: Credential) -> None:
    """Before it is loaded nothing is known; after, each number it names has its CPS."""
    desk.web.answer = signed(alice)
    found = desk.of(STIR)
    assert found.cps(NUMBER) == ()
    await found.load_due()
    assert found.cps(NUMBER) == (A,)
    assert found.cps("12125551235") == ()
    assert found.failures() == []


async def test_it_is_loaded_again_when_it_is_time(desk: Desk, alice: Credential) -> None:
    """Not before its time, and sooner after a failure."""
    found = desk.of(STIR)
    await found.load_due()
    assert "cannot fetch" in found.failures()[0]
    await found.load_due()
    assert len(desk.web.asked) == 1
    desk.now += 120
    desk.web.answer = signed(alice)
    await found.load_due()
    assert (len(desk.web.asked), found.failures()) == (2, [])
    desk.now += 3_599
    await found.load_due()
    assert len(desk.web.asked) == 2
    desk.now += 1
    await found.load_due()
    assert len(desk.web.asked) == 3


@pytest.mark.parametrize("answer", [None, b"", b"{}", b"x", b"\xff", b"a.b.c", b"x" * 600_000])
async def test_the_last_good_one_is_kept_until_it_ends(
    desk: Desk, alice: Credential, answer: bytes | None
) -> None:
    """A source that is lost or spoilt changes nothing before exp."""
    desk.web.answer = signed(alice, days=2)
    found = desk.of(STIR)
    await found.load_all()
    desk.web.answer = answer
    desk.now += DAY
    await found.load_all()
    assert found.cps(NUMBER) == (A,)
    assert len(found.failures()) == 1
    desk.now += DAY
    assert found.cps(NUMBER) == ()


async def test_of_one_signer_a_lower_serial_changes_nothing(desk: Desk, alice: Credential) -> None:
    """An old advertisement that somebody serves again is refused, and the newer one stays."""
    found = desk.of(STIR)
    desk.web.answer = signed(alice, serial=2)
    await found.load_all()
    desk.web.answer = signed(alice, Advertisement({f"2-{NUMBER}": B}), serial=1)
    await found.load_all()
    assert found.cps(NUMBER) == (A,)
    assert "older" in found.failures()[0]
    desk.web.answer = signed(alice, Advertisement({f"2-{NUMBER}": C}), serial=3)
    await found.load_all()
    assert found.cps(NUMBER) == (C,)


async def test_each_line_stands_for_its_signer(desk: Desk, alice: Credential) -> None:
    """Of several tokens in one file a bad one takes nothing from the others."""
    bob = desk.lab.credential("Bob", ranges=(("13105550000", 100),))
    stranger = Lab().credential("Eve")
    desk.web.answer = b"\n".join(
        [
            signed(bob, Advertisement({"2-13105550001": B})),
            signed(bob, Advertisement({f"2-{NUMBER}": C}), serial=2),
            signed(stranger, Advertisement({f"2-{NUMBER}": C})),
            b"a.b.c",
            signed(alice),
        ]
    )
    found = desk.of(STIR)
    await found.load_all()
    assert found.cps(NUMBER) == (A,)
    assert found.cps("13105550001") == (B,)
    assert len(found.failures()) == 1


async def test_the_anchors_of_the_day_decide(desk: Desk, alice: Credential) -> None:
    """Whom nobody trusts any more is not believed when it is loaded again."""
    desk.web.answer = signed(alice)
    desk.anchors = Lab().anchors
    found = desk.of(STIR)
    await found.load_all()
    assert found.cps(NUMBER) == ()


async def test_the_most_specific_key_counts_wherever_it_stands(desk: Desk, tmp_path: Path) -> None:
    """A single number of the last source comes before a range of the first."""
    (tmp_path / "one").write_bytes(Advertisement({"1-12125551200-100": A, "0-77": C}).encode())
    (tmp_path / "two").write_bytes(Advertisement({f"2-{NUMBER}": B, "0-77": B}).encode())
    found = desk.of(
        *(AdvertisementSource(tmp_path / name, SignedBy.NOBODY) for name in ("one", "two")),
        _1310="77",
    )
    await found.load_all()
    assert found.cps(NUMBER) == (B,)
    assert found.cps("12125551299") == (A,)
    assert found.cps("13105550000") == (C, B)
    assert found.cps("13115550000") == ()


async def test_an_unsigned_one_is_read_only_where_that_is_said(
    desk: Desk, alice: Credential
) -> None:
    """A bare object does for an unsigned source alone, and a token for a signed one alone."""
    bare, token = OURS.encode(), signed(alice)
    for by, answer, cps in (
        (SignedBy.NOBODY, bare, (A,)),
        (SignedBy.NOBODY, token, ()),
        (SignedBy.STIR, bare, ()),
        (SignedBy.STIR, token, (A,)),
        (alice.key.public_key(), token, ()),
        (alice.key.public_key(), bare, ()),
    ):
        desk.web.answer = answer
        found = desk.of(AdvertisementSource(URL, by))
        await found.load_all()
        assert found.cps(NUMBER) == cps


async def test_an_unsigned_one_ends_too(desk: Desk) -> None:
    """What has no end of its own is forgotten a week after it was last read."""
    desk.web.answer = OURS.encode()
    found = desk.of(AdvertisementSource(URL, SignedBy.NOBODY))
    await found.load_all()
    desk.now += UNSIGNED_SECONDS - 1
    assert found.cps(NUMBER) == (A,)
    desk.now += 1
    assert found.cps(NUMBER) == ()


async def test_a_pinned_key_signs_whatever_it_says(desk: Desk) -> None:
    """Whose key is configured is believed for every number, in one token, and in its time."""
    key = ec.generate_private_key(ec.SECP256R1())
    iat = int(NOW)
    token = sign_pinned(OURS, key, iat=iat, exp=iat + DAY, serial=1).encode()
    desk.web.answer = token + b"\n"
    found = desk.of(AdvertisementSource(URL, key.public_key()))
    await found.load_all()
    assert found.cps(NUMBER) == (A,)
    for wrong in (token + b"\n" + token, sign_pinned(OURS, key, iat=iat + 60, exp=iat + DAY,
                                                     serial=2).encode()):  # fmt: skip
        desk.web.answer = wrong
        other = desk.of(AdvertisementSource(URL, key.public_key()))
        await other.load_all()
        assert other.cps(NUMBER) == ()


async def test_files_that_cannot_be_read_are_failures(desk: Desk, tmp_path: Path) -> None:
    """A file that is missing, a folder, or too large is said, and raises nothing."""
    large = tmp_path / "large"
    large.write_bytes(b" " * (MAX_OCTETS + 1))
    for place in (tmp_path / "missing", tmp_path, large):
        found = desk.of(AdvertisementSource(place, SignedBy.NOBODY))
        await found.load_all()
        assert found.cps(NUMBER) == ()
        assert len(found.failures()) == 1


def test_a_key_that_cannot_sign_is_refused() -> None:
    """Only a P-256 key makes ES256 signatures."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(ConfigurationError):
        AdvertisementSource(URL, key)


async def test_run_loads_at_once(desk: Desk, alice: Credential) -> None:
    """The first load does not wait for the first pause."""
    desk.web.answer = signed(alice)
    found = desk.of(STIR)

    class Over(Exception):
        pass

    async def pause(_: float) -> None:
        raise Over

    with pytest.raises(Over):
        await found.run(pause)
    assert found.cps(NUMBER) == (A,)

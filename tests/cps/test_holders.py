"""Tests of pbx_stir.cps.holders: who may retrieve what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import issuing
from pbx_stir.cps import holders as holders_module
from pbx_stir.cps.holders import Holder, Holders
from pbx_stir.errors import (
    CertificateRevoked,
    CertificateUntrusted,
    Malformed,
    Refused,
    RequestRefused,
)
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy, find_path, parse_chain
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import SUBMISSION, TOKEN_REQUEST, WINDOW_SECONDS
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.ledger import MemoryLedger

from .conftest import NOW, Authority
from .signing import authorization

NUMBER = "12125551234"
OTHER = "16465550000"
PATH = f"/cps/{NUMBER}/ppts"


class World:
    """Holders with a clock, anchors and revocations that go as they are told."""

    def __init__(self, authority: Authority, policy: SpcPolicy | None = None) -> None:
        self.now = NOW
        self.anchors: Anchors | None = authority.anchors
        self.revoked = False
        self.holders = Holders(
            lambda: self.anchors,
            policy or SpcPolicy(),
            frozenset({"127.0.0.1"}),
            MemoryLedger(lambda: self.now),
            lambda: self.now,
            revocation=self,
        )

    def check(self, path: Path, now: float) -> None:
        """Revoke what is to be revoked."""
        if self.revoked:
            raise CertificateRevoked("revoked")

    async def ask(self, value: str) -> Holder:
        """Check a signed request for PATH."""
        return await self.holders.of_request(value, "GET", PATH)


@pytest.fixture
def world(authority: Authority) -> World:
    """What trusts the lab's authority."""
    return World(authority)


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has NUMBER."""
    return authority.credential(NUMBER)


async def test_a_holder_may_what_its_certificate_covers(world: World, company: Credential) -> None:
    """The number in the list, and no other, longer or shorter one."""
    holder = await world.ask(authorization(company, PATH))
    assert holder.may(NUMBER)
    assert not any(map(holder.may, (OTHER, NUMBER + "0", NUMBER[:-1], "0" + NUMBER)))


async def test_a_signed_request_is_used_once(world: World, company: Credential) -> None:
    """The second time it is refused, as long as its time is good; another nonce is another one."""
    value = authorization(company, PATH)
    await world.ask(value)
    for seconds in (0, WINDOW_SECONDS):
        world.now = NOW + seconds
        with pytest.raises(RequestRefused, match="used before"):
            await world.ask(value)
    world.now = NOW
    await world.ask(authorization(company, PATH))


async def test_what_was_signed_before_a_restart_is_refused(
    authority: Authority, company: Credential
) -> None:
    """Nobody remembers whether it was used then; what is signed from that second on is good."""
    holders = Holders(
        lambda: authority.anchors,
        SpcPolicy(),
        frozenset({"127.0.0.1"}),
        MemoryLedger(lambda: NOW),
        lambda: NOW,
        since=NOW + 0.9,
    )
    await holders.of_request(authorization(company, PATH, now=NOW), "GET", PATH)
    with pytest.raises(RequestRefused, match="before this service was started"):
        await holders.of_request(authorization(company, PATH, now=NOW - 1), "GET", PATH)


async def test_one_nonce_of_two_signers_is_two(
    world: World, company: Credential, authority: Authority
) -> None:
    """A nonce is used up for its signer alone: a stranger cannot use up others'."""
    for signer in (company, authority.credential(OTHER)):
        await world.ask(authorization(signer, PATH, nonce="n" * 16))
    with pytest.raises(RequestRefused):
        await world.ask(authorization(company, PATH, nonce="n" * 16))


WRONG: dict[str, Callable[[Credential], str]] = {
    "audience": lambda c: authorization(c, PATH, audience="cps.example.net"),
    "audience with port": lambda c: authorization(c, PATH, audience="127.0.0.1:8480"),
    "method": lambda c: authorization(c, PATH, method="HEAD"),
    "path of another number": lambda c: authorization(c, f"/cps/{OTHER}/ppts"),
    "path in another form": lambda c: authorization(c, f"/cps/+{NUMBER}/ppts"),
    "path with a query": lambda c: authorization(c, PATH + "?expand=1"),
    "body": lambda c: authorization(c, PATH, body=b"x"),
    "too old": lambda c: authorization(c, PATH, now=NOW - WINDOW_SECONDS - 1),
    "too new": lambda c: authorization(c, PATH, now=NOW + WINDOW_SECONDS + 1),
    "of a submission": lambda c: authorization(c, PATH, typ=SUBMISSION),
    "of a token request": lambda c: authorization(c, PATH, typ=TOKEN_REQUEST),
    "no token": lambda c: "StirCredential",
    "no signature": lambda c: authorization(c, PATH).rpartition(".")[0] + ".",
    "another signature": lambda c: (
        authorization(c, PATH)[:-86] + authorization(c, PATH + "x")[-86:]
    ),
    "too long": lambda c: "StirCredential " + "a" * 8_100,
}


@pytest.mark.parametrize("kind", WRONG)
async def test_what_is_not_this_request_is_refused(
    world: World, company: Credential, kind: str
) -> None:
    """Another audience, method, path, body, time, purpose or signature: refused."""
    with pytest.raises((Malformed, RequestRefused)):
        await world.ask(WRONG[kind](company))


async def test_other_anchors_and_revocation_count_at_once(
    world: World, company: Credential
) -> None:
    """A path that held is judged anew when anchors change, it is revoked, or it ends."""
    holder = await world.ask(authorization(company, PATH))
    assert world.holders.is_still(holder)
    assert await world.ask(authorization(company, PATH)) is holder
    trusted = world.anchors
    for anchors in (Authority().anchors, None):
        world.anchors = anchors
        assert not world.holders.is_still(holder)
        with pytest.raises(Refused):
            await world.ask(authorization(company, PATH))
    world.anchors = trusted
    world.revoked = True
    assert not world.holders.is_still(holder)
    with pytest.raises(CertificateRevoked):
        await world.ask(authorization(company, PATH))
    world.revoked = False
    world.now = holder.not_after
    assert world.holders.is_still(holder)
    world.now += 1
    assert not world.holders.is_still(holder)
    with pytest.raises(Refused):
        await world.ask(authorization(company, PATH, now=world.now))


async def test_memory_is_bounded(
    world: World, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many holders are remembered, and a sweep forgets those that have ended."""
    monkeypatch.setattr(holders_module, "MAX_HOLDERS", 2)
    for each in range(4):
        await world.ask(authorization(authority.credential(NUMBER, name=f"c{each}"), PATH))
    assert len(world.holders._known) == 2
    world.now += 100 * 86_400
    world.holders.sweep()
    assert len(world.holders._known) == 0


async def test_new_chains_are_limited(
    authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends ever new chains is stopped; those that are known go on."""
    monkeypatch.setattr(holders_module, "NEW_CHAINS_AT_ONCE", 2.0)
    world = World(authority)
    await world.ask(authorization(company, PATH))
    strangers = [Authority().credential(NUMBER) for _ in range(2)]
    with pytest.raises(CertificateUntrusted):
        await world.ask(authorization(strangers[0], PATH))
    with pytest.raises(RequestRefused, match="too many"):
        await world.ask(authorization(strangers[1], PATH))
    await world.ask(authorization(company, PATH))


def _issued(listed: TnAuthList, above: TnAuthList | None) -> tuple[list[object], Anchors]:
    """A chain of a leaf with one list under an authority with another."""
    root, root_key = issuing.new_root("Root", NOW - 10, 30)
    key, leaf_key = issuing.new_key(), issuing.new_key()
    middle = issuing.issue_ca(
        root, root_key, key.public_key(), "Middle", NOW - 10, 30, tn_auth_list=above
    )
    leaf = issuing.issue_leaf(middle, key, leaf_key.public_key(), "Leaf", listed, NOW - 10, 20)
    return [leaf, middle], Anchors.of([root])


def test_a_list_beyond_its_authority_s_holds_nothing() -> None:
    """Who has got more numbers than its authority had to give is refused whole (RFC 9060)."""
    chain, anchors = _issued(TnAuthList(numbers=(NUMBER, OTHER)), TnAuthList(numbers=(NUMBER,)))
    world = World(Authority())
    world.anchors = anchors
    with pytest.raises(CertificateUntrusted, match="beyond"):
        world.holders._holder(chain, "")  # type: ignore[arg-type]


_digits = st.text("0123456789", min_size=1, max_size=5)
_lists = st.builds(
    TnAuthList,
    ranges=st.lists(st.tuples(_digits, st.integers(2, 400)), max_size=3).map(tuple),
    numbers=st.lists(_digits | st.sampled_from(["*1", "#"]), min_size=1, max_size=3).map(tuple),
)


@given(listed=_lists, numbers=st.lists(_digits, max_size=20), prefix=_digits)
def test_may_is_what_the_path_authorises(
    listed: TnAuthList, numbers: list[str], prefix: str
) -> None:
    """For any list the quick answer is the path's own, and narrowing loses no number."""
    holder = Holder.of(_path(listed), SpcPolicy(), _ANCHORS)
    narrowed = holder.narrowed(prefix)
    for number in numbers:
        may = holder.may(number)
        assert may == holder.path.authorises(number, number, SpcPolicy())
        if may and number.startswith(prefix):
            assert narrowed is not None
            assert number.startswith(narrowed)
    if narrowed is not None:
        assert narrowed.startswith(prefix)
        assert holder.may(holder.number_under(prefix))
    assert holder.number_under(prefix).startswith(prefix)


_ROOT, _ROOT_KEY = issuing.new_root("Root", NOW - 10, 30)
_ANCHORS = Anchors.of([_ROOT])
_LEAF = issuing.issue_leaf(
    _ROOT, _ROOT_KEY, issuing.new_key().public_key(), "L", TnAuthList(spcs=("1",)), NOW - 10, 20
)


def _path(listed: TnAuthList) -> Path:
    return Path(_LEAF, (_LEAF, _ROOT), listed, NOW + 10, "L")


def test_a_code_holds_what_the_table_gives_it() -> None:
    """A provider's code alone holds nothing; with the table what the longest prefix says."""
    chain, anchors = _issued(TnAuthList(spcs=("123A",)), None)
    path = find_path(parse_chain([_der(each) for each in chain]), anchors, NOW)
    assert not Holder.of(path, SpcPolicy(), anchors).may(NUMBER)
    table = {"1212": frozenset({"123A"}), "12125559": frozenset({"9"})}
    holder = Holder.of(path, SpcPolicy(table=table), anchors)
    assert holder.may(NUMBER)
    assert not holder.may("12125559000")
    assert not holder.may(OTHER)
    assert [holder.narrowed(each) for each in ("1", "121255", "13")] == ["1212", "121255", None]
    assert holder.number_under("1").startswith("1212")


def _der(certificate: object) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)  # type: ignore[attr-defined,no-any-return]


def test_an_authority_s_numbers_bound_a_code() -> None:
    """What the table gives a code, but not its authority's list of numbers, it does not hold."""
    chain, anchors = _issued(TnAuthList(spcs=("123A",)), TnAuthList(("123A",), (), (NUMBER,)))
    path = find_path(parse_chain([_der(each) for each in chain]), anchors, NOW)
    holder = Holder.of(path, SpcPolicy(table={"1": frozenset({"123A"})}), anchors)
    assert holder.may(NUMBER)
    assert not holder.may(OTHER)

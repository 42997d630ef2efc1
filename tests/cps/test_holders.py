"""Tests of pbx_stir.cps.holders and asking: who may retrieve what, and who is told 401."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import issuing
from pbx_stir.cps import holders as holders_module
from pbx_stir.cps.holders import Holder, Holders
from pbx_stir.cps.settings import HOLDERS
from pbx_stir.errors import (
    CertificateRevoked,
    CertificateUntrusted,
    ConfigurationError,
    Malformed,
    Refused,
    RequestRefused,
)
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy, find_path, parse_chain
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import SUBMISSION, TOKEN_REQUEST, WINDOW_SECONDS
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.ledger import MemoryLedger

from .conftest import NOW, Authority, Run, sealed
from .signing import Asker, authorization

NUMBER = "12125551234"
OTHER = "16465550000"
PATH = f"/cps/{NUMBER}/ppts"
CHALLENGE = "StirCredential"


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


# over HTTP


def test_an_authority_s_numbers_bound_a_code() -> None:
    """What the table gives a code, but not its authority's list of numbers, it does not hold."""
    chain, anchors = _issued(TnAuthList(spcs=("123A",)), TnAuthList(("123A",), (), (NUMBER,)))
    path = find_path(parse_chain([_der(each) for each in chain]), anchors, NOW)
    holder = Holder.of(path, SpcPolicy(table={"1": frozenset({"123A"})}), anchors)
    assert holder.may(NUMBER)
    assert not holder.may(OTHER)


async def test_under_holders_others_get_dummies_alone(
    run: Run, authority: Authority, company: Credential
) -> None:
    """The holder sees what is stored; a stranger, and a holder of another number, do not."""
    settings = {"anchors": lambda: authority.anchors, "retrieval": HOLDERS}
    async with run(**settings) as cps:
        entry_id = await cps.store.add(NUMBER, sealed(), cps.clock.moment)
        item = f"{PATH}/{entry_id}"
        async with (
            Asker(cps.url, company) as holder,
            Asker(cps.url) as nobody,
            Asker(cps.url, authority.credential(OTHER)) as other,
        ):
            hrefs = json.loads((await holder.ask(PATH))[2])["ppts"]
            assert item in hrefs
            assert (await holder.ask(item))[0] == 200
            expanded = json.loads((await holder.ask(PATH + "?expand=1"))[2])["ppts"]
            assert [each["href"] for each in expanded] == hrefs
            for stranger in (nobody, other):
                listed = json.loads((await stranger.ask(PATH))[2])["ppts"]
                assert listed == [each for each in hrefs if each != item]
                assert len(listed) in (2, 3)
                missing = await stranger.ask(item)
                unknown = await stranger.ask(f"{PATH}/{'A' * 22}")
                assert (missing[0], missing[2]) == (unknown[0], unknown[2])
                assert missing[0] == 404
                assert (await stranger.ask(listed[0]))[0] == 200


async def test_holders_and_strangers_get_the_same_heads(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Status and headers, their order and values, are the same for all who ask."""
    settings = {"anchors": lambda: authority.anchors, "retrieval": HOLDERS}
    seen = set()
    async with run(**settings) as cps:
        await cps.store.add(NUMBER, sealed(), cps.clock.moment)
        async with Asker(cps.url, company) as holder, Asker(cps.url) as nobody:
            for asker, more in itertools.product((holder, nobody), ("", "?expand=1")):
                status, headers, _ = await asker.ask(PATH + more)
                kept = [
                    (name, value)
                    for name, value in headers.items()
                    if name not in {"Date", "Content-Length"}
                ]
                seen.add((status, *headers, *itertools.chain(*kept)))
    assert len(seen) == 1


async def test_for_strangers_the_store_is_not_asked(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Nothing that a stranger gets can depend on what is stored, not even its latency."""

    class Asked(Exception):
        pass

    async def entries(number: str, now: float) -> NoReturn:
        raise Asked

    settings = {"anchors": lambda: authority.anchors, "retrieval": HOLDERS}
    async with run(**settings) as cps:
        cps.store.entries = entries  # type: ignore[method-assign]
        async with Asker(cps.url) as nobody, Asker(cps.url, company) as holder:
            assert (await nobody.ask(PATH))[0] == 200
            assert (await nobody.ask(PATH + "?expand=1"))[0] == 200
            assert (await nobody.ask(f"{PATH}/{'A' * 22}"))[0] == 404
            assert (await holder.ask(PATH))[0] == 503


@pytest.mark.parametrize("retrieval", ["open", HOLDERS])
async def test_a_bad_signature_is_401(
    run: Run, authority: Authority, company: Credential, retrieval: str
) -> None:
    """Whatever is wrong with a signed request, in either mode, on every resource."""
    stranger = Authority().credential(NUMBER)
    settings = {"anchors": lambda: authority.anchors, "retrieval": retrieval}
    async with run(**settings) as cps, Asker(cps.url) as asker:
        for path in (PATH, f"{PATH}/{'A' * 22}", "/cps/1212*/ppts", f"/cps/1*/ppts/{'A' * 22}"):
            used = authorization(company, path)
            assert (await asker.ask(path, Authorization=used))[0] in (200, 404)
            for value in (
                used,
                authorization(stranger, path),
                authorization(company, path, now=NOW - 99),
                "StirCredential x.y.z",
                "stircredential",
            ):
                status, headers, body = await asker.ask(path, Authorization=value)
                assert (status, headers["WWW-Authenticate"]) == (401, CHALLENGE)
                assert json.loads(body)["status"] == 401
        # what is no signed request is not ours to judge
        assert (await asker.ask(PATH, Authorization="Basic eDp5"))[0] == 200


async def test_every_canonical_form_is_signed_as_sent(
    run: Run, authority: Authority, company: Credential
) -> None:
    """The path that is signed is the one on the wire, percent-encoding and query included."""
    settings = {"anchors": lambda: authority.anchors, "retrieval": HOLDERS}
    async with run(**settings) as cps, Asker(cps.url, company) as asker:
        entry_id = await cps.store.add(NUMBER, sealed(), cps.clock.moment)
        for form in (NUMBER, f"%2B{NUMBER}", "1.212.555.1234"):
            _, _, body = await asker.ask(f"/cps/{form}/ppts?expand=1&x=%20")
            assert entry_id in body.decode()


async def test_two_signatures_are_none(run: Run, authority: Authority, company: Credential) -> None:
    """A request that is signed twice does not say who asks."""
    async with run(anchors=lambda: authority.anchors) as cps:
        import aiohttp

        values = [("Authorization", authorization(company, PATH)) for _ in range(2)]
        async with (
            aiohttp.ClientSession() as session,
            session.get(cps.url + PATH, headers=values) as response,
        ):
            assert response.status == 401


async def test_without_anchors_a_signature_is_503(run: Run, company: Credential) -> None:
    """Nothing can be checked then; who does not sign is answered as ever."""
    async with run() as cps, Asker(cps.url, company) as asker, Asker(cps.url) as nobody:
        assert (await asker.ask(PATH))[0] == 503
        assert (await nobody.ask(PATH))[0] == 200
        assert (await nobody.ask("/cps/1212*/ppts"))[0] == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"retrieval": HOLDERS},
        {"retrieval": "closed"},
        {"client_certificates": True},
        {"push_subscribers": 0},
        {"push_heartbeat_seconds": 0.0},
    ],
)
async def test_impossible_settings_are_said(run: Run, wrong: dict[str, object]) -> None:
    """A CPS that nobody could retrieve from does not start."""
    with pytest.raises(ConfigurationError):
        async with run(**wrong):
            pass

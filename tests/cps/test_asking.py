"""Tests of pbx_stir.cps.asking: holders and strangers over HTTP, and who is told 401."""

from __future__ import annotations

import itertools
import json
from typing import NoReturn

import pytest

from pbx_stir.cps.settings import HOLDERS
from pbx_stir.errors import (
    ConfigurationError,
)
from pbx_stir.stir.credential import Credential

from .conftest import NOW, Authority, Run, sealed
from .signing import Asker, authorization

NUMBER = "12125551234"
OTHER = "16465550000"
PATH = f"/cps/{NUMBER}/ppts"
CHALLENGE = "StirCredential"


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has NUMBER."""
    return authority.credential(NUMBER)


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

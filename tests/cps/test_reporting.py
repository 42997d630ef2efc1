"""Reports of bogus entries: who may make them, what they count, and that they tell nothing."""

from __future__ import annotations

import json

import aiohttp
import pytest

from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import REPORT, RETRIEVAL
from pbx_stir.tokens.checker import TokenChecker

from .conftest import Authority, Run, Running, sealed
from .signing import authorization

NUMBER = "12125551234"
OTHER = "16465550000"
PATH = f"/cps/{NUMBER}/reports"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What was counted: owner, number and entry."""
    found: list[tuple[str, str, str]] = []

    async def report(_checker: TokenChecker, owner: str, number: str, entry_id: str) -> None:
        found.append((owner, number, entry_id))

    monkeypatch.setattr(TokenChecker, "report", report)
    return found


async def _post(
    cps: Running,
    body: bytes,
    signer: Credential | None,
    *,
    typ: str = REPORT,
    kind: str = "application/json",
) -> tuple[int, bytes]:
    headers = {"Content-Type": kind}
    if signer is not None:
        headers["Authorization"] = authorization(signer, PATH, method="POST", typ=typ, body=body)
    async with (
        aiohttp.ClientSession() as session,
        session.post(cps.url + PATH, data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


def _body(*ids: str) -> bytes:
    return json.dumps({"ids": ids}).encode()


async def test_a_holder_reports_entries_of_its_number(
    run: Run, authority: Authority, counted: list[tuple[str, str, str]]
) -> None:
    """Each is counted for its owner; dummies, unknown ids and others' are taken and do nothing."""
    async with run(tokens=True, anchors=lambda: authority.anchors) as cps:
        now = cps.clock.moment
        one = await cps.store.add(NUMBER, sealed(), now, owner="aa")
        nobodys = await cps.store.add(NUMBER, sealed(), now)
        others = await cps.store.add(OTHER, sealed(), now, owner="bb")
        signer = authority.credential(NUMBER)
        assert await _post(cps, _body(one, nobodys, others, "A" * 22, one), signer) == (204, b"")
        assert counted == [("aa", NUMBER, one)]
        cps.clock.moment += 31
        assert (await _post(cps, _body(one), signer))[0] == 204
        assert len(counted) == 1


async def test_nobody_else_reports(
    run: Run, authority: Authority, counted: list[tuple[str, str, str]]
) -> None:
    """Strangers, holders of other numbers, and what was signed for another purpose: 401."""
    async with run(tokens=True, anchors=lambda: authority.anchors) as cps:
        one = await cps.store.add(NUMBER, sealed(), cps.clock.moment, owner="aa")
        holder = authority.credential(NUMBER)
        assert (await _post(cps, _body(one), None))[0] == 401
        assert (await _post(cps, _body(one), authority.credential(OTHER)))[0] == 401
        assert (await _post(cps, _body(one), holder, typ=RETRIEVAL))[0] == 401
        assert counted == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"ids":[]}',
        b'{"ids":["x"]}',
        b'{"ids":[1]}',
        b'{"ids":"A"}',
        b'{"ids":["' + b"A" * 22 + b'"],"why":1}',
        _body(*(f"{n:022d}" for n in range(65))),
        b"\xff",
    ],
)
async def test_what_is_no_report_is_refused(run: Run, authority: Authority, body: bytes) -> None:
    """Anything but a list of 1 to 64 ids is 400."""
    async with run(tokens=True, anchors=lambda: authority.anchors) as cps:
        status, _ = await _post(cps, body, authority.credential(NUMBER))
        assert status == 400


async def test_reports_are_bounded(run: Run, authority: Authority) -> None:
    """By type, by size and by how many one certificate makes."""
    async with run(tokens=True, anchors=lambda: authority.anchors) as cps:
        signer = authority.credential(NUMBER)
        assert (await _post(cps, _body("A" * 22), signer, kind="text/plain"))[0] == 415
        assert (await _post(cps, b" " * 5000, signer))[0] == 413
        found = [(await _post(cps, _body("A" * 22), signer))[0] for _ in range(21)]
        assert found == [204] * 20 + [429]


async def test_where_stores_need_no_token_there_is_nothing_to_count(
    run: Run, authority: Authority
) -> None:
    """Without tokens reports would change nothing: the resource is not there."""
    async with run(anchors=lambda: authority.anchors) as cps:
        assert (await _post(cps, _body("A" * 22), authority.credential(NUMBER)))[0] == 404

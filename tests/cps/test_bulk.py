"""Tests of pbx_stir.cps.bulk: pages of a prefix, over HTTP."""

from __future__ import annotations

import json

import pytest

from pbx_stir.cps import bulk as bulk_module
from pbx_stir.cps.pages import Page, parse_page
from pbx_stir.stir import sealing
from pbx_stir.stir.credential import Credential

from .conftest import Authority, Run, Running, sealed
from .signing import Asker

MINE = [f"1212555{each:04}" for each in range(100)]
BULK = "/cps/1212*/ppts"


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has a hundred numbers."""
    return authority.credential(*MINE)


async def fill(cps: Running, numbers: list[str]) -> dict[str, tuple[str, bytes]]:
    """Store one for each number, one after another; give number and text by id."""
    stored = {}
    for number in numbers:
        cps.clock.moment += 0.001
        wire = sealed()
        stored[await cps.store.add(number, wire, cps.clock.moment)] = (number, wire)
    return stored


async def walk(asker: Asker, path: str) -> list[Page]:
    """All pages from one on."""
    found = []
    while path:
        status, headers, body = await asker.ask(path)
        assert status == 200
        page = parse_page(body)
        link = f'<{page.next}>; rel="next"' if page.next else None
        assert headers.get("Link") == link
        assert headers["Cache-Control"] == "no-store"
        found.append(page)
        path = page.next
    return found


async def test_a_holder_gets_its_numbers_entries(
    run: Run, authority: Authority, company: Credential
) -> None:
    """What is stored for numbers of the certificate, newest first; nothing of others."""
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        mine = await fill(cps, MINE[:20])
        others = await fill(cps, ["12125559999", "16465550000", "121255500000"])
        (page,) = await walk(asker, BULK)
        ids = [each.href.rpartition("/")[2] for each in page.entries]
        assert [each for each in ids if each in mine] == [*reversed(mine)]
        assert not set(ids) & set(others)
        assert len(ids) - len(mine) in (2, 3)
        for entry in page.entries:
            assert entry.href.startswith(BULK + "/")
            assert not any(number in entry.href for number in MINE)


async def test_expanded_it_says_each_number(
    run: Run, authority: Authority, company: Credential
) -> None:
    """With ?expand=1 number and octets come along, for dummies too, in one form."""
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        stored = await fill(cps, MINE[:3])
        for path in (BULK, "/cps/1212%2A/ppts", "/cps/%2B1.2*/ppts"):
            (page,) = await walk(asker, path + "?expand=1")
            assert len(page.entries) in (5, 6)
            for entry in page.entries:
                assert entry.number in MINE
                assert entry.wire is not None
                assert sealing.looks_sealed(sealing.from_wire(entry.wire))
                known = stored.pop(entry.href.rpartition("/")[2], None)
                assert known in (None, (entry.number, entry.wire))
        assert not stored


async def test_pages_follow_each_other(run: Run, authority: Authority, company: Credential) -> None:
    """All that is stored comes once, at most 64 a page, dummies on each."""
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        stored = await fill(cps, MINE + MINE[:50])
        for path in (BULK, BULK + "?expand=1"):
            pages = await walk(asker, path)
            assert len(pages) == 3
            ids = [each.href.rpartition("/")[2] for page in pages for each in page.entries]
            assert [each for each in ids if each in stored] == [*reversed(stored)]
            for page in pages:
                made_up = {each.href for each in page.entries}
                made_up -= {f"{BULK}/{each}" for each in stored}
                assert len(page.entries) <= 64
                assert len(made_up) in (2, 3)


async def test_what_is_looked_at_is_bounded(
    run: Run, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among very many of others a page may have few entries, and the next ones go on from there."""
    monkeypatch.setattr(bulk_module, "MAX_LOOKED_AT", 10)
    company = authority.credential("12125550000", "12125559999")
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        first = await fill(cps, ["12125550000"])
        await fill(cps, [f"1212555{each:04}" for each in range(1, 36)])
        last = await fill(cps, ["12125559999"])
        pages = await walk(asker, "/cps/1*/ppts")
        assert len(pages) == 4
        ids = [each.href.rpartition("/")[2] for page in pages for each in page.entries]
        assert {*first, *last} <= set(ids)


async def test_next_tells_nothing_of_others(
    run: Run, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the entry that was looked at last is another holder's, its id is in no answer."""
    monkeypatch.setattr(bulk_module, "MAX_LOOKED_AT", 3)
    company = authority.credential("12125550000", "12125559999")
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        foreign = await fill(cps, [f"1212555{each:04}" for each in range(1, 10)])
        pages = await walk(asker, "/cps/1*/ppts")
        assert len(pages) == 3
        assert not any(each in page.next for each in foreign for page in pages)
        for each in foreign:
            assert (await asker.ask(f"/cps/1*/ppts/{each}"))[0] == 404


async def test_pages_go_on_where_an_entry_was(
    run: Run, authority: Authority, company: Credential
) -> None:
    """When the entry that a page ended with is pushed out, the next one goes on from its place."""
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        stored = await fill(cps, MINE)
        _, _, body = await asker.ask(BULK)
        page = parse_page(body)
        last = [*reversed(stored)][60]
        cps.store._drop(last)
        rest = {each.href for page in await walk(asker, page.next) for each in page.entries}
        assert {f"{BULK}/{each}" for each in [*reversed(stored)][61:]} <= rest


async def test_items_are_served_there_too(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Each href of a page gives the entry, dummies too; others' entries and unknown ids are 404."""
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        stored = await fill(cps, MINE[:2])
        foreign = await fill(cps, ["12125559999", MINE[0] + "0"])
        (page,) = await walk(asker, BULK)
        for entry in page.entries:
            for slash in ("", "/"):
                status, headers, body = await asker.ask(entry.href + slash)
                assert (status, headers["Content-Type"]) == (200, "application/passport")
                assert headers["Link"] == f'<{BULK}>; rel="collection"'
                entry_id = entry.href.rpartition("/")[2]
                assert stored.get(entry_id, ("", body))[1] == body
        answers = [await asker.ask(f"{BULK}/{each}") for each in (*foreign, "A" * 22, "x")]
        assert {status for status, _, _ in answers} == {404}
        assert len({body for _, _, body in answers}) == 1


async def test_it_is_for_holders_alone(run: Run, authority: Authority, company: Credential) -> None:
    """Nobody is answered 401; who covers nothing there gets dummies, and sees no difference."""
    stranger = authority.credential("16465550000")
    async with run(anchors=lambda: authority.anchors) as cps:
        stored = await fill(cps, MINE[:3])
        async with Asker(cps.url) as nobody, Asker(cps.url, stranger) as other:
            for path in (BULK, f"{BULK}/{next(iter(stored))}"):
                status, headers, _ = await nobody.ask(path)
                assert (status, headers["WWW-Authenticate"]) == (401, "StirCredential")
            (page,) = await walk(other, BULK + "?expand=1")
            assert len(page.entries) in (2, 3)
            assert all(each.number.startswith("1212") for each in page.entries)
            assert not any(each in page.entries[0].href for each in stored)


async def test_forms_methods_and_cursors(
    run: Run, authority: Authority, company: Credential
) -> None:
    """uri-list, HEAD, 405, bad and unknown cursors, and an Accept of nothing that there is."""
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        stored = await fill(cps, MINE)
        status, headers, body = await asker.ask(BULK, Accept="text/uri-list")
        assert (status, headers["Content-Type"]) == (200, "text/uri-list")
        assert headers["Link"].startswith(f"<{BULK}?after=")
        assert 60 <= len(body.split()) <= 64
        status, headers, body = await asker.ask(BULK, "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 0
        assert (await asker.ask(BULK, Accept="image/png"))[1]["Content-Type"] == "application/json"
        for method in ("POST", "PUT", "DELETE"):
            status, headers, _ = await asker.ask(BULK, method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        for after in ("x", "A" * 23, "..", "%00"):
            assert (await asker.ask(f"{BULK}?after={after}"))[0] == 400
        (page,) = await walk(asker, f"{BULK}?after={'A' * 22}")
        assert len(page.entries) in (2, 3)
        (page,) = await walk(asker, f"{BULK}?after={next(iter(stored))}")
        assert len(page.entries) in (2, 3)


async def test_expired_entries_are_gone(
    run: Run, authority: Authority, company: Credential
) -> None:
    """A page has what is alive, exactly; a prefix's dummies do not outlive it either."""
    async with run(anchors=lambda: authority.anchors) as cps, Asker(cps.url, company) as asker:
        stored = await fill(cps, MINE[:1])
        (before,) = await walk(asker, BULK)
        cps.clock.moment += 29.999
        assert next(iter(stored)) in json.dumps((await walk(asker, BULK))[0].entries)
        cps.clock.moment += 0.001
        (after,) = await walk(asker, BULK)
        assert not {each.href for each in before.entries} & {each.href for each in after.entries}


async def test_one_certificate_asks_so_often(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its rate a certificate is told when to come again; another one is not."""
    monkeypatch.setattr(bulk_module, "AT_ONCE", 3.0)
    async with run(anchors=lambda: authority.anchors) as cps:
        async with Asker(cps.url, company) as asker:
            for _ in range(3):
                assert (await asker.ask(BULK))[0] == 200
            status, headers, _ = await asker.ask(BULK)
            assert (status, headers["Retry-After"]) == (429, "1")
        async with Asker(cps.url, authority.credential(MINE[0])) as other:
            assert (await other.ask(BULK))[0] == 200

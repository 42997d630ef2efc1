"""What the listener for unsealed PASSporTs takes, how long it is kept, and how it is given."""

from __future__ import annotations

import json

import pytest

from pbx_stir.stir import passport
from pbx_stir.stir.signed_request import SUBMISSION

from .bare_listener import BOB, PATH, Bare, detail, running
from .conftest import NOW, Authority, sealed
from .signing import authorization


async def test_a_passport_goes_from_its_submitter_to_the_holder(bare: Bare) -> None:
    """RFC 8816 section 9's flow: 201 with a Location, a list of paths, and the PASSporT there."""
    token = bare.token()
    status, headers, _ = await bare.submit(token)
    assert status == 201
    location = headers["Location"]
    assert location.startswith(f"{PATH}/")
    status, headers, body = await bare.fetch()
    assert (status, json.loads(body)) == (200, {"ppts": [location]})
    assert headers["Cache-Control"] == "no-store"
    for path in (location, f"{location}/"):
        status, headers, body = await bare.fetch(path)
        assert (status, body.decode()) == (200, token)
        assert headers["Content-Type"] == "application/passport"
        assert headers["Link"] == f'<{PATH}>; rel="collection"'
    assert await bare.held() == [token]
    _, headers, body = await bare.fetch(more="text/uri-list")
    assert body == location.encode() + b"\r\n"


async def test_nothing_there_is_an_empty_list(bare: Bare) -> None:
    """There are no dummies here, and an unknown id is 404."""
    status, _, body = await bare.fetch()
    assert (status, json.loads(body)) == (200, {"ppts": []})
    for path in (f"{PATH}/{'A' * 22}", f"{PATH}/x"):
        assert (await bare.fetch(path))[0] == 404


async def test_it_is_gone_sixty_seconds_after_its_iat(bare: Bare) -> None:
    """However late it came: the freshness of the PASSporT bounds its stay."""
    await bare.submit(bare.token(iat=int(NOW) - 40))
    await bare.submit(bare.token(iat=int(NOW) + 5))
    assert len(await bare.held()) == 2
    bare.moment.clock.moment += 19
    assert len(await bare.held()) == 2
    bare.moment.clock.moment += 1
    assert len(await bare.held()) == 1
    bare.moment.clock.moment += 39
    assert len(await bare.held()) == 1
    bare.moment.clock.moment += 1
    assert await bare.held() == []


@pytest.mark.parametrize(
    ("offset", "status"), [(-61, 400), (-60, 201), (0, 201), (5, 201), (6, 400)]
)
async def test_only_fresh_ones_are_taken(bare: Bare, offset: int, status: int) -> None:
    """From sixty seconds old to five of the future, both inclusive."""
    answer = await bare.submit(bare.token(iat=int(NOW) + offset))
    assert answer[0] == status
    if status == 400:
        assert "older" in detail(answer) or "future" in detail(answer)


async def test_dest_must_hold_the_number_of_the_path(bare: Bare) -> None:
    """What is for another number is refused and said so; one of several dests is enough."""
    answer = await bare.submit(bare.token(dest=["13105552001"]))
    assert (answer[0], "dest" in detail(answer)) == (400, True)
    assert (await bare.submit(bare.token(dest=["13105552001", BOB])))[0] == 201


async def test_a_path_may_be_written_in_every_form(bare: Bare) -> None:
    """Dots and a plus are the same number."""
    for form in ("1.310.555.2000", "+13105552000", "%2B13105552000"):
        assert (await bare.submit(bare.token(), f"/cps/{form}/ppts"))[0] == 201


def bodies() -> dict[str, bytes]:
    """What is no PASSporT in full form."""
    return {
        "nothing": b"",
        "text": b"hello",
        "sealed": sealed(),
        "three segments": b"a.b.c",
        "compact form": b"..AAAA",
        "not ascii": b"\xff" * 40,
        "json": b'{"passports":["x"]}',
    }


@pytest.mark.parametrize("name", bodies())
async def test_only_passports_in_full_form_are_taken(bare: Bare, name: str) -> None:
    """Anything else is 400, sealed ones among it, and nothing is kept."""
    answer = await bare.submit(bodies()[name])
    assert answer[0] == 400
    assert await bare.held() == []


async def test_other_statements_are_no_passports(bare: Bare) -> None:
    """What a STIR credential signed for another purpose is not stored as a PASSporT."""
    other = authorization(bare.alice, PATH).partition(" ")[2]
    assert (await bare.submit(other))[0] == 400


async def test_a_folded_body_is_one_token(bare: Bare) -> None:
    """RFC 8816 section 9 shows lines with blanks before them; what is kept is the token."""
    token = bare.token()
    folded = "\r\n".join("   " + token[at : at + 60] for at in range(0, len(token), 60))
    assert (await bare.submit(folded))[0] == 201
    assert await bare.held() == [token]


async def test_the_same_token_twice_is_one_entry(bare: Bare) -> None:
    """Sent again after a lost answer it gets the place that it has."""
    token = bare.token()
    first, second = await bare.submit(token), await bare.submit(token)
    assert first[1]["Location"] == second[1]["Location"]
    assert await bare.held() == [token]


async def test_larger_ones_are_refused_before_they_are_read(bare: Bare) -> None:
    """So much and no more, whether announced or not."""
    assert (await bare.submit(b"a" * (passport.MAX_OCTETS + 1)))[0] == 413


async def test_another_type_is_refused(bare: Bare) -> None:
    """A PASSporT is application/passport."""
    token = bare.token().encode()
    value = authorization(bare.alice, PATH, method="POST", typ=SUBMISSION, body=token)
    for kind in ("application/json", "text/plain", "application/passport, text/plain"):
        answer = await bare.ask("POST", PATH, token, Authorization=value, Content_Type=kind)
        assert answer[0] == 415


async def test_a_flood_pushes_out_the_flood(authority: Authority) -> None:
    """In a full collection the oldest of whoever has the most there goes."""
    async with running(authority, common_max_entries_of_a_number=3) as bare:
        mine = bare.token(jti="mine")
        await bare.submit(mine, credential=bare.bob)
        for at in range(5):
            await bare.submit(bare.token(jti=str(at)))
        held = await bare.held()
        assert len(held) == 3
        assert mine in held

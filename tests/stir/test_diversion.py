"""Diverted calls (RFC 8946): which PASSporTs follow each other, and which do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import issuing
from pbx_stir.errors import BrokenDiversion, MalformedPassport
from pbx_stir.stir import diversion, passport
from pbx_stir.stir.passport import Passport

ALICE, BOB, CAROL, DAVE = "12125551234", "13105552000", "14155553000", "16175554000"
NOW = 1_800_000_000
X5U = "https://certificates.example.com/a.pem"
KEY = issuing.new_key()


def original(dest: str = BOB, *, orig: str = ALICE, iat: int = NOW) -> Passport:
    return passport.sign(orig=orig, dest=[dest], iat=iat, x5u=X5U, key=KEY, jti="j")


def diverted(
    before: Passport,
    by: str,
    to: str,
    *,
    ppt: str = diversion.DIV_O,
    orig: str = ALICE,
    iat: int = NOW,
    **claims: object,
) -> Passport:
    members: dict[str, object] = {"div": {"tn": by}}
    if ppt == diversion.DIV_O:
        members["opt"] = before.token
    return passport.sign(
        orig=orig, dest=[to], iat=iat, x5u=X5U, key=KEY, ppt=ppt, extra=members | claims
    )


def nested(hops: int) -> Passport:
    """A call passed on ``hops`` times, from one number to the next."""
    one = original(dest="10000000000")
    for hop in range(hops):
        one = diverted(one, f"1000000000{hop}", f"1000000000{hop + 1}")
    return one


def test_a_chain_leads_from_the_caller_to_whom_it_reached() -> None:
    """Alice calls Bob, who passes on to Carol, who passes on to Dave."""
    first = diverted(original(), BOB, CAROL)
    second = diverted(first, CAROL, DAVE)
    found = diversion.unwrap(second)
    assert [one.dest for one in found.all] == [(BOB,), (CAROL,), (DAVE,)]
    assert found.original.orig == ALICE


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_five_levels_are_read(hops: int) -> None:
    """As many as are passed on in practice."""
    assert len(diversion.unwrap(nested(hops)).diversions) == hops


def test_six_levels_are_not() -> None:
    """The work for one call has an end."""
    with pytest.raises(BrokenDiversion, match="more than 5"):
        diversion.unwrap(nested(6))


BROKEN = {
    "diverted by somebody else": lambda: diverted(original(), DAVE, CAROL),
    "of another caller": lambda: diverted(original(orig=DAVE), BOB, CAROL),
    "passed on too late": lambda: diverted(original(iat=NOW - 61), BOB, CAROL),
    "passed on before it was made": lambda: diverted(original(iat=NOW + 6), BOB, CAROL),
    "back to where it was": lambda: diverted(diverted(original(), BOB, CAROL), CAROL, BOB),
    "to himself": lambda: diverted(original(), BOB, BOB),
    "around a div": lambda: diverted(
        diverted(original(), BOB, CAROL, ppt=diversion.DIV), CAROL, DAVE
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_follow_is_broken(name: str) -> None:
    """Every way in which links do not fit is found."""
    with pytest.raises(BrokenDiversion):
        diversion.unwrap(BROKEN[name]())


@pytest.mark.parametrize(
    "claims",
    [
        {"opt": None},
        {"opt": 5},
        {"opt": "a.b"},
        {"div": None},
        {"div": BOB},
        {"div": {"tn": 5}},
        {"div": {"uri": "sip:bob@example.com"}},
        {"div": {"tn": BOB, "uri": "sip:bob@example.com"}},
        {"div": {"tn": "bob"}},
    ],
)
def test_wrong_types_are_malformed(claims: dict[str, object]) -> None:
    """A div-o without a PASSporT inside, or without one number that diverted, is none."""
    with pytest.raises(MalformedPassport):
        diversion.unwrap(diverted(original(), BOB, CAROL, **claims))


def test_links_that_are_late_but_in_time_of_each_other_hold() -> None:
    """A phone may ring for a minute at each stop: freshness counts from link to link."""
    first = diverted(original(iat=NOW - 120), BOB, CAROL, iat=NOW - 60)
    assert diversion.unwrap(diverted(first, CAROL, DAVE, iat=NOW))


def test_div_stands_beside_what_it_diverts() -> None:
    """The set of a call's Identity headers forms the same chain, in whatever order it comes."""
    one = original()
    first = diverted(one, BOB, CAROL, ppt=diversion.DIV)
    second = diverted(first, CAROL, DAVE, ppt=diversion.DIV)
    stranger = original(dest=DAVE, orig=CAROL)
    found = [chain.all for chain in diversion.chains([stranger, one], [second, first])]
    assert found == [(one, first), (one, first, second)]


def test_div_that_leads_on_hides_no_chain() -> None:
    """Nobody has looked at signatures yet: what a stranger put beside a chain is another chain."""
    one = original()
    honest = diverted(one, BOB, CAROL, ppt=diversion.DIV)
    twin = diverted(one, BOB, CAROL, ppt=diversion.DIV, x="twin")
    further = diverted(honest, CAROL, DAVE, ppt=diversion.DIV)
    found = {chain.all for chain in diversion.chains([one], [further, twin, honest])}
    assert found == {
        (one, honest),
        (one, twin),
        (one, honest, further),
        (one, twin, further),
    }


def test_div_that_goes_round_is_left_out() -> None:
    """As a div-o is: nobody passes a call on twice, nor back."""
    one = original()
    first = diverted(one, BOB, CAROL, ppt=diversion.DIV)
    back = diverted(first, CAROL, BOB, ppt=diversion.DIV)
    again = diverted(back, BOB, DAVE, ppt=diversion.DIV)
    found = [chain.all for chain in diversion.chains([one], [first, back, again])]
    assert found == [(one, first), (one, again)]


def test_the_work_to_find_chains_has_an_end() -> None:
    """Diversions made to fit each other in every order cost no more steps than chains have."""
    numbers = [str(13105552000 + at) for at in range(8)]
    originals = [
        passport.sign(orig=ALICE, dest=numbers, iat=NOW, x5u=X5U, key=KEY, jti=one)
        for one in numbers
    ]
    divs = [
        passport.sign(
            orig=ALICE,
            dest=[other for other in numbers if other != one] + [DAVE],
            iat=NOW,
            x5u=X5U,
            key=KEY,
            ppt=diversion.DIV,
            extra={"div": {"tn": one}},
        )
        for one in numbers
    ]
    found = list(diversion.chains(originals, divs))
    assert len(found) <= diversion.MOST_STEPS


def test_divs_that_follow_nothing_give_no_chain() -> None:
    """A diversion by somebody to whom the call was not sent leads nowhere."""
    assert not list(diversion.chains([original()], [diverted(original(), DAVE, CAROL, ppt="div")]))
    assert not list(diversion.chains([], [diverted(original(), BOB, CAROL, ppt="div")]))


@given(st.dictionaries(st.sampled_from(["div", "opt"]), st.recursive(st.text(), st.lists)))
def test_nothing_else_is_raised(claims: dict[str, object]) -> None:
    """Whatever the claims hold, the answer is a chain or one of the two errors."""
    try:
        diversion.unwrap(diverted(original(), BOB, CAROL, **claims))
    except (BrokenDiversion, MalformedPassport):
        pass

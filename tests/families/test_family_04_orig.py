"""Family 4: which writings of a caller ID are the signed number, and which are another's."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.families.hostile import ALICE, BOB, DROP, FORGE, Court, Judging, token
from tests.services import world


@pytest.mark.parametrize(
    ("presented", "country"),
    [
        (ALICE, ""), ("+" + ALICE, ""), (ALICE, "1"), ("+" + ALICE, "1"), ("2125551234", "1"),
        ("+1 (212) 555-1234", ""), ("1-212-555-1234", "1"), ("(212) 555-1234", "1"),
        ("212.555.1234", "1"), ("tel:+1-212-555-1234", ""),
        ("tel:+12125551234;tgrp=trunk;trunk-context=example.com", ""),
        ("sip:+12125551234@carrier.example", ""),
        ("sip:+12125551234;tgrp=t;trunk-context=a.example@carrier.example;user=phone", ""),
        ("sip:12125551234@carrier.example;user=phone", ""),
        ("sip:%2B12125551234@carrier.example", ""),
        ("0012125551234", "44"), ("+12125551234", "44"), ("0012125551234", "49"),
        ("01112125551234", "1"), ("0012125551234", "1"),
    ],
)  # fmt: skip
def test_family_04_orig_honest(
    court: Court, judging: Judging, presented: str, country: str
) -> None:
    """Canonical, national, with separators, as tel and sip, with trunk groups."""
    options = ["--country-code", country] if country else []
    judging.passes(token(court.key), orig=presented, options=options)


@pytest.mark.parametrize(
    ("presented", "country"),
    [
        ("12125551235", ""), ("2125551234", ""), ("+2125551234", "1"), ("+2125551234", ""),
        ("121255512340", ""), ("1212555123", ""), ("012125551234", ""), ("0012125551234", ""),
        ("112125551234", "1"), ("442125551234", "1"), ("2125551234", "44"), ("02125551234", "44"),
        ("00442125551234", "1"), ("+112125551234", "1"),
    ],
)  # fmt: skip
def test_family_04_orig_mismatch(
    court: Court, judging: Judging, presented: str, country: str
) -> None:
    """Another number, though it looks like Alice's: other country, one digit more or less."""
    options = ["--country-code", country] if country else []
    judging.refuses("orig-mismatch", token(court.key), orig=presented, options=options)


@pytest.mark.parametrize(
    "orig",
    [
        DROP, None, ALICE, [ALICE], {}, {"tn": None}, {"tn": ""}, {"tn": [ALICE]},
        {"tn": int(ALICE)}, {"tn": "1 212 555 1234"}, {"tn": "2125551234;ext=1"},
        {"tn": ALICE + "\u0000"}, {"tn": "1212555123\u0664"}, {"tn": "*67" + ALICE},
        {"tn": ALICE, "uri": "sip:a@example.com"}, {"tn": ALICE, "more": 1}, {"TN": ALICE},
        {"uri": ["sip:a@example.com"]}, {"uri": ""}, {"uri": "alice"}, {"tn": "1" * 16},
        {"tn": "++" + ALICE}, {"tn": "anonymous"},
    ],
)  # fmt: skip
def test_family_04_orig_malformed(court: Court, judging: Judging, orig: object) -> None:
    """Exactly one identity, of the right type, is an orig."""
    judging.refuses("malformed", token(court.key, claims={"orig": orig}))


@pytest.mark.parametrize(
    "orig",
    [
        {"uri": "sip:alice@example.com"},
        {"uri": "sip:+12125551234@example.com"},
        {"uri": "tel:+12125551234"},
        {"tn": "02125551234"},
        {"tn": "2125551234"},
    ],
)
def test_family_04_orig_another_identity(court: Court, judging: Judging, orig: object) -> None:
    """A URI is compared with no number, and digits with all their digits."""
    judging.refuses("orig-mismatch", token(court.key, claims={"orig": orig}))


@pytest.mark.parametrize(
    "presented", ["anonymous", "Restricted", "", "sip:anonymous@anonymous.invalid"]
)
def test_family_04_orig_withheld(court: Court, judging: Judging, presented: str) -> None:
    """A caller who withholds his number is no failure, whatever the token says."""
    judging.refuses("anonymous-caller", token(court.key), orig=presented)


@pytest.mark.parametrize("presented", ["", "anonymous", "sip:anonymous@anonymous.invalid"])
async def test_family_04_orig_withheld_from_a_pbx(presented: str) -> None:
    """Nothing is looked up for a caller ID that is withheld, and nothing is held against it."""
    bob = world.World()
    bob.put(bob.token())
    outcome = await bob.service.verify(world.call(orig=presented), "1", world.NOW, 2.0)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.ANONYMOUS_CALLER)


def test_family_04_orig_of_another_country_is_not_ours(court: Court, judging: Judging) -> None:
    """A right certificate for +212 5551234 does not make a call from 212-555-1234 Passed."""
    moroccan = FORGE.leaf(court.ca, "Rabat", tn=TnAuthList(numbers=("2125551234",)))
    text = court.signed(moroccan, court.ca, claims={"orig": {"tn": "2125551234"}})
    judging.refuses("orig-mismatch", text, orig="2125551234", options=["--country-code", "1"])
    judging.refuses("orig-mismatch", text, orig=ALICE)
    judging.passes(text, orig="+2125551234", options=["--country-code", "1"])


def test_family_04_orig_local_digits_stay_local(court: Court, judging: Judging) -> None:
    """Without a country code digits are what they are, down to one of them."""
    short = FORGE.leaf(court.ca, "Short", tn=TnAuthList(numbers=("7",)))
    text = court.signed(short, court.ca, claims={"orig": {"tn": "7"}})
    judging.passes(text, orig="7", dest=BOB)
    judging.refuses("orig-mismatch", text, orig="17")

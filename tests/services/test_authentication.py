"""The authentication service, step by step (RFC 8816 section 8.1)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pbx_stir.services.authentication import AuthenticationService, NeverSigned
from pbx_stir.services.call import Call, Direction, Outcome, Reason, Status
from pbx_stir.services.trunk import Callers, Shown, Trunk
from pbx_stir.stir import passport, rich_call_data, sealing
from pbx_stir.stir.constraints import ClaimConstraints
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberRules, NumberSet
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.world import (
    ALICE,
    BOB,
    CALLERS,
    CPS,
    NOW,
    SPC,
    TRUNK,
    FakeDirectory,
    FakePlacement,
    call,
    credential_for,
)


class Office:
    """Alice's authentication service; Bob has two keys."""

    def __init__(self, *credentials: Credential, callers: Callers = CALLERS) -> None:
        self.keys = [sealing.new_private_key() for _ in range(2)]
        self.directory = FakeDirectory(tuple(sealing.public_octets(key) for key in self.keys))
        self.placement = FakePlacement()
        ids = (f"00000000-0000-4000-8000-{number:012d}" for number in itertools.count())
        self.service = AuthenticationService(
            callers=callers,
            credentials=credentials or (credential_for(),),
            directory=self.directory,
            placement=self.placement,
            never=NeverSigned(excluded=NumberSet.parse(["+1900*"])),
            new_uuid=lambda: next(ids),
        )

    async def sign(self, now: float = NOW, **changes: object) -> Outcome:
        one: Call = call(Direction.OUTBOUND, **changes)
        return await self.service.authenticate(one, now, 10.0)

    def stored(self, number: str = BOB) -> list[passport.Passport]:
        """What each of Bob's keys opens, parsed."""
        found = []
        for key, (_, _, blob) in itertools.product(self.keys, self.placement.stored):
            opened = sealing.open_sealed(blob, key, number)
            if opened is not None:
                found.append(passport.parse(opened.passport))
        return found


async def test_a_call_is_signed_and_stored_under_every_key() -> None:
    """Each of the called party's keys gets a copy, of one PASSporT, for this call."""
    office = Office()
    outcome = await office.sign()
    assert (outcome.status, outcome.reason) == (Status.STORED, Reason.STORED)
    assert (outcome.orig, outcome.dest) == (ALICE, BOB)
    first, second = office.stored()
    assert first == second
    assert (first.orig, first.dest, first.iat, first.ppt) == (ALICE, (BOB,), int(NOW), "")
    key = office.service._credentials[0].certificate.public_key()
    assert passport.signature_holds(first, key)  # type: ignore[arg-type]


async def test_two_calls_of_one_second_have_two_passports() -> None:
    """Twenty calls of one pair within a second can each be verified: none shares a PASSporT."""
    office = Office()
    for _ in range(20):
        await office.sign()
    keys = {passport.used_key(token) for token in office.stored()}
    assert len(keys) == 20


async def test_an_spc_credential_makes_shaken() -> None:
    """A provider's certificate signs for the trunk's numbers, attested A, with a fresh origid."""
    office = Office(credential_for(SPC))
    outcome = await office.sign()
    token = office.stored()[0]
    assert (token.ppt, token.attest, outcome.attest) == ("shaken", "A", "A")
    assert token.origid


async def test_a_trunk_may_lower_the_attestation() -> None:
    """attest = "B" is obeyed; what may not be signed at all is not signed at B either."""
    trunk = Trunk("carrier", TRUNK.rules, TRUNK.numbers, attest="B")
    office = Office(credential_for(SPC), callers=Callers({"carrier": trunk}))
    assert (await office.sign()).attest == "B"
    assert (await office.sign(orig="12129999999")).reason is Reason.NOT_AUTHORITATIVE


UNSIGNED: Mapping[str, tuple[dict[str, object], Reason]] = {
    "somebody else's number": ({"orig": "12129990000"}, Reason.NOT_AUTHORITATIVE),
    "no such trunk": ({"trunk": "other"}, Reason.NOT_AUTHORITATIVE),
    "came in on a trunk": ({"came_in": "carrier"}, Reason.CALLER_NOT_ALLOWED),
    "hidden by presentation": ({"restricted": True}, Reason.ANONYMOUS_CALLER),
    "hidden by name": ({"orig": "anonymous"}, Reason.ANONYMOUS_CALLER),
    "no number": ({"orig": "alice"}, Reason.INVALID_NUMBER),
    "no called number": ({"dest": "bob"}, Reason.INVALID_NUMBER),
    "an excluded number": ({"dest": "19005551234"}, Reason.EXCLUDED),
    "help": ({"dest": "911"}, Reason.EMERGENCY),
    "help through an outside line": ({"dest": "9911"}, Reason.EMERGENCY),
}


@pytest.mark.parametrize("name", UNSIGNED)
async def test_what_may_not_be_signed_is_neither_stored_nor_looked_up(name: str) -> None:
    """Each way in which a call is not ours to sign has its word, and leaves no trace outside."""
    changes, reason = UNSIGNED[name]
    office = Office()
    office.directory.reason = Reason.NO_KEY  # would be the reason if it were asked
    outcome = await office.sign(**changes)
    assert (outcome.status, outcome.reason) == (Status.SKIPPED, reason)
    assert office.placement.stored == []


async def test_an_originator_may_claim_his_own_numbers_only() -> None:
    """An endpoint with numbers of its own is held to them; its account decides after it."""
    callers = Callers(
        {"carrier": TRUNK},
        {
            "PJSIP/alice": NumberSet.parse([ALICE]),
            "sales": NumberSet.parse(["12125551250"]),
        },
    )
    office = Office(callers=callers)
    assert (await office.sign()).reason is Reason.STORED
    other = await office.sign(orig="12125551250")
    assert other.reason is Reason.CALLER_NOT_ALLOWED
    account = await office.sign(orig="12125551250", originator=("PJSIP/x", "sales"))
    assert account.reason is Reason.STORED
    unknown = await office.sign(orig="12125551277", originator=("PJSIP/y",))
    assert unknown.reason is Reason.STORED


async def test_a_credential_for_numbers_outside_the_trunk_is_not_enough() -> None:
    """A number that the certificate covers but the trunk may not present is not signed."""
    office = Office(credential_for(TnAuthList(ranges=(("12125550000", 10000),))))
    assert (await office.sign(orig="12125559999")).reason is Reason.CALLER_NOT_ALLOWED


async def test_an_expired_credential_signs_nothing() -> None:
    """The day after the certificate ended, calls go on unsigned and say why."""
    office = Office()
    outcome = await office.sign(now=NOW + 11 * 86400)
    assert (outcome.status, outcome.reason) == (Status.ERROR, Reason.CREDENTIAL_EXPIRED)


async def test_a_valid_credential_is_taken_before_an_expired_one() -> None:
    """Two certificates overlap while one is renewed."""
    old = credential_for(now=NOW - 20, days=10 / 86400)
    office = Office(old, credential_for())
    assert (await office.sign(now=NOW + 100)).reason is Reason.STORED


async def test_a_fixed_presentation_is_what_is_signed() -> None:
    """A trunk that shows one number whatever the extension is signed for that number."""
    trunk = Trunk("carrier", NumberRules(country_code="1"), TRUNK.numbers, presents="12125551200")
    office = Office(callers=Callers({"carrier": trunk}))
    outcome = await office.sign(orig="101")
    assert (outcome.reason, outcome.orig) == (Reason.STORED, "12125551200")


@pytest.mark.parametrize(
    ("down", "status", "reason"),
    [
        (set(), Status.STORED, Reason.STORED),
        ({CPS}, Status.STORED, Reason.STORED),
        ({CPS, "https://b.example"}, Status.ERROR, Reason.CPS_UNAVAILABLE),
    ],
)
async def test_one_cps_of_several_is_enough(down: set[str], status: Status, reason: Reason) -> None:
    """Stored where at least one CPS took every copy; each failure is kept."""
    office = Office()
    office.directory.cps = (CPS, "https://b.example")
    office.placement.down = down
    outcome = await office.sign()
    assert (outcome.status, outcome.reason) == (status, reason)
    assert len(outcome.rejections) == len(down)


@pytest.mark.parametrize("reason", [Reason.NO_CPS, Reason.NO_KEY, Reason.BAD_RECORD])
async def test_a_number_without_cps_or_key_is_not_stored_for(reason: Reason) -> None:
    """A missing key never downgrades to cleartext."""
    office = Office()
    office.directory.reason = reason
    assert (await office.sign()).reason is reason
    assert office.placement.stored == []


NAMED = Callers(
    {"carrier": TRUNK},
    named={"PJSIP/alice": Shown(name="Alice Müller"), "sales": Shown("Sales", "Your order")},
    numbered=(
        (NumberSet.parse(["12125551250"]), Shown("Other")),
        (NumberSet.parse(["12125551200-12125551299"]), Shown("Example Inc.", "Business")),
    ),
)


async def test_a_name_comes_from_the_originator_then_from_the_number() -> None:
    """Each of name and reason by itself: who calls comes before which number he calls as."""
    office = Office(callers=NAMED)
    for originator, name, reason in (
        (("PJSIP/alice",), "Alice Müller", "Business"),
        (("PJSIP/x", "sales"), "Sales", "Your order"),
        (("PJSIP/x",), "Example Inc.", "Business"),
    ):
        await office.sign(originator=originator)
        token = office.stored()[-1]
        said = rich_call_data.read(token)
        assert (token.ppt, said.name, said.reason) == ("rcd", name, reason)
    assert (await office.sign(orig="12125551250")).reason is Reason.STORED
    assert NAMED.shown((), "12125551250") == Shown("Other", "Business")
    assert NAMED.shown(("PJSIP/bob",), "13105552000") == Shown()


async def test_a_shaken_passport_keeps_its_kind_with_a_name() -> None:
    """The name is one more claim, which those who do not know it ignore."""
    office = Office(credential_for(SPC), callers=NAMED)
    await office.sign()
    token = office.stored()[0]
    assert (token.ppt, rich_call_data.read(token).name) == ("shaken", "Alice Müller")


async def test_the_certificates_constraints_are_kept() -> None:
    """A name that the certificate forbids is left out, one that it lists is signed."""
    free = credential_for()
    forbids = ClaimConstraints(must_exclude=("crn",))
    lists = ClaimConstraints(permitted=(("rcd", ('{"nam":"Alice Müller"}', '{"nam":"A"}')),))
    office = Office(replace(free, constraints=(forbids, lists)), callers=NAMED)
    await office.sign()
    said = rich_call_data.read(office.stored()[0])
    assert (said.name, said.reason) == ("Alice Müller", "")
    await office.sign(originator=("sales",))
    token = office.stored()[-1]
    assert (token.ppt, "rcd" in token.claims, "crn" in token.claims) == ("", False, False)

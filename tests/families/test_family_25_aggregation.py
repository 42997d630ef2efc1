"""Family 25: several PASSporTs of one call, and what of them reaches a dialplan."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from pbx_stir.services import treatment
from pbx_stir.services.call import Outcome, Reason, Verstat
from pbx_stir.stir import passport
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.families.hostile import (
    DROP,
    FAILED,
    FORGE,
    NONE,
    Court,
    Judging,
    diverted,
    shaken,
    token,
)
from tests.services import world
from tests.services.world import BOB, NOW, World


def kinds(court: Court) -> dict[str, tuple[str, str]]:
    """Tokens, each with the reason that it has alone."""
    key = court.key
    return {
        "malformed": (token(key, claims={"iat": DROP}), "malformed"),
        "unsupported": (token(key, header={"ppt": "rph"}), "unsupported-ppt"),
        "of another": (token(key, claims={"orig": {"tn": "12125551235"}}), "orig-mismatch"),
        "to another": (token(key, claims={"dest": {"tn": ["1"]}}), "dest-mismatch"),
        "diverting": (diverted(key, "3", "2"), "broken-diversion"),
        "stale": (token(key, claims={"iat": 1}), "stale"),
        "unavailable": (token(key, header={"x5u": "https://x.example.com/"}),
                        "certificate-unavailable"),
        "forged": (token(key, key=FORGE.key()), "bad-signature"),
    }  # fmt: skip


def test_family_25_aggregation_any_that_passes_outranks(court: Court, judging: Judging) -> None:
    """A valid one beside any other, before it or after it, is what counts; all else is noted."""
    good = token(court.key, claims={"n": 1})
    for text, reason in kinds(court).values():
        for lines in ((text, good), (good, text)):
            found = judging.passes(*lines)
            assert [one["reason"] for one in found.rejections] == [reason]
    everything = [text for text, _ in kinds(court).values()]
    assert len(judging.passes(*everything, good).rejections) == len(everything)
    judging.passes(good, *everything)


def test_family_25_aggregation_the_furthest_reason(court: Court, judging: Judging) -> None:
    """When nothing passes, the reason is of the PASSporT that came furthest, in any order."""
    order = list(kinds(court).values())
    for (low, _), (high, reason) in itertools.combinations(order, 2):
        for lines in ((low, high), (high, low)):
            verdict = FAILED if reason == "bad-signature" else NONE
            judging.refuses(reason, *lines, verdict=verdict)


def test_family_25_aggregation_shaken_and_rcd(court: Court, judging: Judging) -> None:
    """Two valid ones of one call: both stand, the first decides."""
    rcd = token(court.key, header={"ppt": "rcd"}, claims={"rcd": {"nam": "Alice"}})
    assert judging.passes(shaken(court.key), rcd).attest == "A"
    assert judging.passes(rcd, shaken(court.key)).attest == ""


@pytest.mark.parametrize(
    "rcd",
    [
        None, "Alice", [], {}, {"nam": 1}, {"nam": None}, {"nam": "x" * 257}, {"name": "Alice"},
        {"nam": "A", "jcd": {}}, {"nam": "A", "jcd": [], "jcl": "https://a.example/"},
        {"nam": "A", "icn": 7},
    ],
)  # fmt: skip
def test_family_25_aggregation_broken_rich_call_data(
    court: Court, judging: Judging, rcd: object
) -> None:
    """A name of another form is a PASSporT of another form."""
    judging.refuses("malformed", token(court.key, header={"ppt": "rcd"}, claims={"rcd": rcd}))
    judging.refuses("malformed", shaken(court.key, claims={"rcd": rcd}))


class Bob(World):
    """Bob, whose calls carry Identity headers as well."""

    def header(self, made: passport.Passport) -> str:
        """Its header, its chain to be had."""
        self.certificates.chains[made.x5u] = (self.company.certificate, world.ROOT)
        return passport.identity_header(made)

    async def verdict(self, *identity: str) -> Outcome:
        """The verdict on a call with these headers."""
        return await self.service.verify(world.call(identity=identity), "1", NOW, 2.0)


def _forged(bob: Bob) -> str:
    made = bob.token(jti="forged")
    return passport.identity_header(passport.parse(made.token[:-4] + "AAAA"))


async def test_family_25_aggregation_in_band_and_out_of_band() -> None:
    """What passes outranks, wherever it came from; a failed header counts where nothing passes."""
    bob = Bob()
    forged = _forged(bob)
    bob.header(bob.token())
    outcome = await bob.verdict(forged)
    assert (outcome.verstat, outcome.reason) == (Verstat.FAILED, Reason.BAD_SIGNATURE)
    bob.put(bob.token())
    outcome = await bob.verdict(forged)
    assert (outcome.verstat, outcome.reason) == (Verstat.PASSED, Reason.VERIFIED)
    assert [one.reason for one in outcome.rejections] == [Reason.BAD_SIGNATURE]
    bob = Bob()
    outcome = await bob.verdict(_forged(bob), bob.header(bob.token()))
    assert outcome.verstat is Verstat.PASSED
    # the same forgery at a CPS says nothing
    bob = Bob()
    made = bob.token()
    bob.put(made.token[:-4] + "AAAA")
    outcome = await bob.verdict()
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.BAD_SIGNATURE)


@pytest.mark.parametrize("order", list(itertools.permutations("ABC")))
async def test_family_25_aggregation_attestations(order: tuple[str, ...]) -> None:
    """A passes whatever stands beside it; of B and C the first; both outrank a failed header."""
    bob = Bob()
    made = {one: bob.token(attest=one, origid="o", jti="") for one in order}
    outcome = await bob.verdict(*(bob.header(made[one]) for one in order))
    assert (outcome.verstat, outcome.attest) == (Verstat.PASSED, "A")
    bob = Bob()
    lower = [one for one in order if one != "A"]
    headers = [bob.header(bob.token(attest=one, origid="o", jti="")) for one in lower]
    outcome = await bob.verdict(_forged(bob), *headers)
    assert (outcome.verstat, outcome.attest) == (Verstat.NONE, lower[0])
    assert outcome.reason.value == f"attest-{lower[0].lower()}"


async def test_family_25_aggregation_names_are_merged() -> None:
    """A shaken and an rcd of one moment are one call's: the name comes along, and is used up."""
    bob = Bob()
    plain = bob.token(attest="A", origid="o", jti="")
    rich = bob.token(ppt="rcd", extra={"rcd": {"nam": "Alice & Co"}, "crn": "offer"})
    outcome = await bob.verdict(*map(bob.header, (plain, rich)))
    assert (outcome.name, outcome.call_reason, outcome.attest) == ("Alice & Co", "offer", "A")
    assert len(outcome.also_used) == 1
    # of another moment it is another PASSporT, and the oldest that passes decides
    bob = Bob()
    other = bob.token(ppt="rcd", iat=int(NOW) - 1, extra={"rcd": {"nam": "Mallory"}})
    outcome = await bob.verdict(*map(bob.header, (bob.token(attest="A", origid="o"), other)))
    assert (outcome.name, outcome.attest, outcome.also_used) == ("Mallory", "", ())


async def test_family_25_aggregation_no_name_of_what_did_not_pass() -> None:
    """A forged name beside a valid PASSporT, and a name on a low attestation, are not shown."""
    bob = Bob()
    plain = bob.token(attest="A", origid="o", jti="")
    rich = bob.token(ppt="rcd", extra={"rcd": {"nam": "Bank"}})
    forged = passport.parse(rich.token[:-4] + "AAAA")
    outcome = await bob.verdict(bob.header(plain), passport.identity_header(forged))
    assert (outcome.verstat, outcome.name) == (Verstat.PASSED, "")
    bob = Bob()
    low = bob.token(attest="C", origid="o", jti="", extra={"rcd": {"nam": "Bank"}})
    outcome = await bob.verdict(bob.header(low))
    assert (outcome.verstat, outcome.name) == (Verstat.NONE, "")


INJECTIONS = [
    "Alice\r\nVariable: X=1", "${SHELL(reboot)}", "a,b", "a;b", "a|b", 'a"b', "a'b", "a\\b",
    "$[1+1]", "a&b", "a\u202eb", "\u0000", "\x1b[2J", "a\nb", "^{x}", "`x`", "a=b", "<sip:x@y>",
    "é\u0301", "x" * 256,
]  # fmt: skip


@pytest.mark.parametrize("name", INJECTIONS)
async def test_family_25_aggregation_injection(name: str) -> None:
    """A name may be anything that its signer wants; a dialplan sees letters and few signs of it."""
    bob = Bob()
    bob.put(bob.token(extra={"rcd": {"nam": name}, "crn": name}))
    outcome = await bob.verdict()
    assert outcome.verstat is Verstat.PASSED
    told = dict(treatment.variables(outcome, "id"))
    ascii_only = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .+@_-")
    for variable, value in told.items():
        assert len(value) <= 96
        if variable not in {"STIR_NAME", "STIR_CALL_REASON"}:
            assert set(value) <= ascii_only
        assert {one for one in value if one.isascii()} <= ascii_only
        assert all(one.isprintable() for one in value)


def test_family_25_aggregation_signer_of_any_name(
    court: Court, judging: Judging, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signer's name is a certificate's: JSON carries it, the dialplan what is whitelisted."""
    leaf = FORGE.leaf(court.ca, '${X}"\r\n,;|', tn=TnAuthList(ranges=(("12125551200", 100),)))
    found = judging.passes(court.signed(leaf, court.ca))
    assert json.loads(json.dumps(found.signer)) == '${X}"\r\n,;|'
    assert treatment.whitelisted(found.signer) == "X"


async def test_family_25_aggregation_work_has_an_end() -> None:
    """A hundred that look right and are not: the budget ends it, garbage fails nobody."""
    bob = Bob()
    for at in range(100):
        made = bob.token(jti=str(at))
        bob.put(made.token[:-4] + "AAAA")
    outcome = await bob.verdict()
    assert outcome.verstat is Verstat.NONE
    assert len(outcome.rejections) <= 66
    assert outcome.dest == BOB


async def test_family_25_aggregation_twenty_at_once() -> None:
    """The honest neighbour: twenty calls of one pair in one second, twenty PASSporTs."""
    import asyncio

    bob = Bob()
    for at in range(20):
        bob.put(bob.token(jti=str(at)))
    calls: list[Any] = [
        bob.service.verify(world.call(unique_id=str(at), linked_id=str(at)), str(at), NOW, 2.0)
        for at in range(20)
    ]
    outcomes = await asyncio.gather(*calls)
    assert [one.verstat for one in outcomes] == [Verstat.PASSED] * 20
    assert len({one.used_key for one in outcomes}) == 20

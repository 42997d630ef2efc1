"""Family 9: kinds of PASSporTs: known, unknown, contradictory."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Reason, Verstat
from tests.families.hostile import (
    DROP,
    SHAKEN,
    X5U,
    X5U_PROVIDER,
    Court,
    Judging,
    identity,
    shaken,
    token,
)
from tests.services import world


@pytest.mark.parametrize(
    "ppt", ["rph", "msgi", "vesper", "Shaken", "SHAKEN", "shaken ", "DIV", "Rcd", "x", "div_o"]
)
def test_family_09_ppt_unsupported(court: Court, judging: Judging, ppt: str) -> None:
    """Letter case counts; what is not known is not relied upon."""
    judging.refuses("unsupported-ppt", token(court.key, header={"ppt": ppt}, claims=SHAKEN))


@pytest.mark.parametrize("ppt", ["", None, 1, True, ["shaken"], {"shaken": 1}, []])
def test_family_09_ppt_of_another_type(court: Court, judging: Judging, ppt: object) -> None:
    """ppt is a string with something in it, or absent."""
    judging.refuses("malformed", token(court.key, header={"ppt": ppt}, claims=SHAKEN))


@pytest.mark.parametrize(
    "claims",
    [
        {"attest": DROP}, {"attest": ""}, {"attest": "a"}, {"attest": "D"}, {"attest": "AB"},
        {"attest": "A "}, {"attest": 1}, {"attest": None}, {"attest": ["A"]}, {"origid": DROP},
        {"origid": ""}, {"origid": None}, {"origid": 7}, {"origid": ["x"]},
        {"Attest": "A", "attest": DROP},
    ],
)  # fmt: skip
def test_family_09_ppt_shaken_claims(
    court: Court, judging: Judging, claims: dict[str, object]
) -> None:
    """RFC 8588: attest A, B or C and an origid, both strings."""
    judging.refuses("malformed", shaken(court.key, claims=claims))


@pytest.mark.parametrize(
    ("in_token", "in_header"),
    [
        ("shaken", "ppt=rcd"), ("shaken", 'ppt="Shaken"'), ("shaken", "ppt=div"), ("shaken", "ppt"),
        ("", "ppt=shaken"), ("", 'ppt="shaken"'), ("", "ppt"), ("", 'ppt=""'),
        ("shaken", "ppt=shaken;ppt=shaken"), ("shaken", "ppt='shaken'"), ("shaken", "ppt=<shaken>"),
        ("shaken", 'ppt="shaken'), ("shaken", 'ppt=""shaken""'),
    ],
)  # fmt: skip
def test_family_09_ppt_mismatch(
    court: Court, judging: Judging, in_token: str, in_header: str
) -> None:
    """What the header says of the token is what the token says."""
    made = shaken(court.key) if in_token else token(court.key)
    judging.refuses("malformed", f"{made};info=<{X5U}>;alg=ES256;{in_header}")


def test_family_09_ppt_unknown_drops_itself_alone(court: Court, judging: Judging) -> None:
    """An unknown kind beside a known one does no harm, before it or after."""
    unknown = token(court.key, header={"ppt": "rph"})
    for lines in ((unknown, shaken(court.key)), (shaken(court.key), unknown)):
        found = judging.passes(*lines)
        assert [one["reason"] for one in found.rejections] == ["unsupported-ppt"]


async def test_family_09_ppt_unknown_in_a_call() -> None:
    """So it is in an answer of a CPS and among Identity headers."""
    bob = world.World()
    bob.put(bob.token(ppt="rph"))
    bob.put(bob.token())
    outcome = await bob.service.verify(world.call(), "1", world.NOW, 2.0)
    assert (outcome.verstat, outcome.reason) == (Verstat.PASSED, Reason.VERIFIED)
    bob = world.World()
    bob.put(bob.token(ppt="rph"))
    outcome = await bob.service.verify(world.call(), "2", world.NOW, 2.0)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.UNSUPPORTED_PPT)


@pytest.mark.parametrize("attest", ["A", "B", "C"])
@pytest.mark.parametrize("said", ["", ';ppt="shaken"', ";ppt=shaken", ' ; ppt = "shaken"'])
def test_family_09_ppt_honest(court: Court, judging: Judging, attest: str, said: str) -> None:
    """Shaken with each attestation, its ppt quoted, bare or unsaid."""
    made = shaken(court.key, claims={"attest": attest, "origid": "any text"})
    assert judging.passes(f"{made};info=<{X5U}>{said}").attest == attest


def test_family_09_ppt_absent_is_base(court: Court, judging: Judging) -> None:
    """A base PASSporT needs a certificate for the number; its attest means nothing."""
    assert judging.passes(token(court.key, claims={"attest": "Z"})).attest == ""
    provider = {"x5u": X5U_PROVIDER}
    key = court.provider.key
    # a provider's code does not show that the number was its own to sign: no failure, no pass
    judging.refuses("number-not-covered", token(key, header=provider), verdict="No-TN-Validation")
    judging.passes(identity(shaken(key, header=provider), X5U_PROVIDER, ppt="shaken"))

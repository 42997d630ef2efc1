"""Family 1: signed for a call to somebody else, though signature and certificate are right."""

from __future__ import annotations

import pytest

from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir import sealing
from tests.families.hostile import ALICE, BOB, CAROL, DROP, Court, Judging, token
from tests.services import world


@pytest.mark.parametrize(
    ("dest", "called"),
    [
        ({"tn": [CAROL]}, BOB),
        ({"tn": [CAROL, ALICE]}, BOB),
        ({"tn": [BOB + "0"]}, BOB),
        ({"tn": [BOB[:-1]]}, BOB),
        ({"tn": [BOB[1:]]}, BOB),
        ({"tn": ["0" + BOB]}, BOB),
        ({"tn": ["911"]}, BOB),
        ({"uri": ["sip:bob@example.com"]}, BOB),
        ({"uri": ["tel:+" + CAROL]}, BOB),
        ({"tn": [CAROL], "uri": ["sip:" + BOB + "@example.com"]}, BOB),
        ({"tn": [BOB]}, "sip:bob@example.com"),
        ({"uri": ["sip:bob@example.com"]}, "sip:bob@example.org"),
        ({"uri": ["sip:bob@example.com"]}, "sip:BOB@example.com"),
        ({"uri": ["sip:bob@example.com"]}, "sips:bob@example.com"),
        ({"uri": ["sip:bob@example.com"]}, "sip:bob@example.com:5061"),
    ],
)
def test_family_01_dest_mismatch(
    court: Court, judging: Judging, dest: dict[str, object], called: str
) -> None:
    """Whoever opens a PASSporT cannot call another number with it."""
    judging.refuses("dest-mismatch", token(court.key, claims={"dest": dest}), dest=called)


@pytest.mark.parametrize(
    "dest",
    [
        DROP,
        None,
        {},
        [],
        BOB,
        {"tn": BOB},
        {"tn": []},
        {"tn": [None]},
        {"tn": [int(BOB)]},
        {"tn": [[BOB]]},
        {"tn": {"0": BOB}},
        {"tn": [""]},
        {"tn": [BOB, ""]},
        {"tn": [BOB + "\n"]},
        {"tn": [" " + BOB]},
        {"tn": ["1-310-555-2000"]},
        {"tn": ["++" + BOB]},
        {"tn": ["１３１０５５５２０００"]},  # noqa: RUF001
        {"tn": ["1" * 16]},
        {"tn": [BOB], "uri": []},
        {"tn": [BOB], "uri": "sip:bob@example.com"},
        {"uri": ["bob"]},
        {"uri": ["sip:b b@example.com"]},
        {"TN": [BOB]},
    ],
)
def test_family_01_dest_malformed(court: Court, judging: Judging, dest: object) -> None:
    """A dest of another shape is nobody's number, and no traceback."""
    judging.refuses("malformed", token(court.key, claims={"dest": dest}))


@pytest.mark.parametrize(
    ("dest", "called"),
    [
        ({"tn": [BOB]}, BOB),
        ({"tn": [BOB]}, "+" + BOB),
        ({"tn": ["+" + BOB]}, BOB),
        ({"tn": [CAROL, BOB]}, BOB),
        ({"tn": [BOB, BOB]}, BOB),
        ({"tn": [CAROL] * 60 + [BOB]}, BOB),
        ({"tn": [BOB], "uri": ["sip:bob@example.com"]}, BOB),
        ({"tn": [BOB], "uri": ["sip:bob@example.com"]}, "sip:bob@EXAMPLE.com"),
        ({"uri": ["sip:carol@example.com", "sip:bob@example.com"]}, "sip:bob@example.com;a=b"),
        ({"tn": [BOB], "more": 1}, BOB),
        ({"tn": [BOB]}, "sip:+" + BOB + "@pbx.example;user=phone"),
        ({"tn": [BOB]}, "tel:+1-310-555-2000"),
    ],
)
def test_family_01_dest_honest(
    court: Court, judging: Judging, dest: dict[str, object], called: str
) -> None:
    """One of several called, in any form that means the number."""
    judging.passes(token(court.key, claims={"dest": dest}), dest=called)


async def test_family_01_dest_sealed_again() -> None:
    """Bob opens what Alice sealed to him and seals it to Carol: she sees no Passed."""
    bob = world.World()
    bob.put(bob.token(dest=[CAROL]))
    outcome = await bob.service.verify(world.call(), "1", world.NOW, 2.0)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.DEST_MISMATCH)
    # under the collection of one number, sealed for that of another: not even opened
    blob = sealing.seal(bob.token().token, (), bob.public, CAROL)
    bob.placement.held[BOB] = [blob]
    outcome = await bob.service.verify(world.call(), "2", world.NOW, 2.0)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.NO_PASSPORT)
    bob.put(bob.token(dest=[CAROL, BOB]))
    outcome = await bob.service.verify(world.call(), "3", world.NOW, 2.0)
    assert (outcome.verstat, outcome.reason) == (Verstat.PASSED, Reason.VERIFIED)

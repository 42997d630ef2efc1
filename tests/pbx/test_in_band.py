"""Identity headers that the outbound hook gives a SIP call, as the other side reads them."""

from __future__ import annotations

import string
from urllib.parse import quote

from pbx_stir.services import treatment
from pbx_stir.services.call import Call
from tests.pbx.scene import Caller, Desk, listening

TOKEN = (string.ascii_letters + string.digits + "-_.") * 8
FIRST = f'{TOKEN};info=<https://x.example:8443/c.pem>;alg=ES256;ppt="shaken"'
SECOND = f'{TOKEN[::-1]};info=<https://y.example/c.pem>;alg=ES256;ppt="div"'
LONG = ("ab-_.Z019" * 400)[:2700] + ";info=<https://x.example/c.pem>;alg=ES256"


def _headers(*values: str) -> list[tuple[str, str]]:
    return [(f"STIR_IDENTITY_{n}", quote(one, safe="")) for n, one in enumerate(values, start=1)]


async def _arrived(
    caller: Caller, context: str, number: str, *headers: list[tuple[str, str]]
) -> Call:
    """Place a call by SIP to ourselves; what its inbound hook announces."""
    desk = Desk(headers=headers)
    async with listening(caller.instance, desk):
        await caller.place(context, number)
        await caller.seen(number)
    return desk.calls[-1]


async def test_one_header_arrives_as_it_was_given(caller: Caller) -> None:
    """Brackets, quotes, semicolons and equal signs are what they were, and there is one header."""
    assert treatment.encoded(FIRST) == quote(FIRST, safe="")
    call = await _arrived(caller, "in-band", "16465550131", _headers(FIRST))
    assert call.direction.value == "in"
    assert call.identity == (FIRST,)


async def test_two_headers_arrive_in_their_order(caller: Caller) -> None:
    """The original, and div beside it."""
    call = await _arrived(caller, "in-band", "16465550132", _headers(FIRST, SECOND))
    assert call.identity == (FIRST, SECOND)


async def test_a_long_header_arrives_whole(caller: Caller) -> None:
    """Several times as long as a line of AMI."""
    call = await _arrived(caller, "in-band", "16465550133", _headers(LONG))
    assert call.identity == (LONG,)


async def test_a_call_with_nothing_to_carry_has_no_header(caller: Caller) -> None:
    """The handler does nothing where the hook has given nothing."""
    assert (await _arrived(caller, "in-band", "16465550134")).identity == ()


async def test_a_second_hook_takes_back_what_the_first_one_gave(caller: Caller) -> None:
    """A header of the trunk that failed does not leave by the next one."""
    call = await _arrived(caller, "in-band-again", "16465550135", _headers(FIRST, SECOND), [])
    assert call.identity == ()
    call = await _arrived(
        caller, "in-band-again", "16465550136", _headers(FIRST, SECOND), _headers(SECOND)
    )
    assert call.identity == (SECOND,)


async def test_a_leg_that_is_no_sip_gets_none_and_passes_none_on(caller: Caller) -> None:
    """What one leg was given does not leave by a leg of that leg."""
    call = await _arrived(caller, "in-band-local", "16465550137", _headers(FIRST))
    assert call.identity == ()
    wrong = [line for line in caller.instance.log.splitlines() if "ERROR" in line]
    assert not any("PJSIP_HEADER" in line for line in wrong)


async def test_a_name_arrives_in_its_letters(caller: Caller) -> None:
    """UTF-8 comes through AMI and the dialplan unharmed."""
    desk = Desk()
    desk.verdict = (*desk.verdict, ("STIR_NAME", "Zoë 株式会社 Ольга"))
    async with listening(caller.instance, desk):
        said = await caller.call("named", "16465550138")
    assert said["Name"] == "[V] Zoë 株式会社 Ольга"

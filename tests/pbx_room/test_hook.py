"""The words between a dialplan and the daemon."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedAnnouncement, PbxStirError
from pbx_stir.pbx import hook
from pbx_stir.services.call import Call, Direction, Mode

NONCE = "1795309815383000"
FIELDS = {
    "Event": "UserEvent",
    "UserEvent": "PbxStir",
    "Channel": "PJSIP/carrier-00000001",
    "Uniqueid": "pbx-1795309815.1",
    "Linkedid": "pbx-1795309815.0",
    "Ver": "1",
    "Listener": "0123456789abcdef",
    "Mode": "on",
    "Nonce": NONCE,
    "Dir": "in",
    "Trunk": "carrier-1",
    "Budget": "2000",
    "From": "%2B12125550100",
    "Pres": "allowed_not_screened",
    "To": "16465550100",
    "CameIn": "carrier-1",
    "CameInId": "pbx-1795309815.1",
    "Originator": "",
    "Placed": "PJSIP%2Fcarrier-00000001",
    "Fixed": "yes",
    "Identity1": quote("a.b.c;info=<https://x.example/>", safe=""),
}


def parsed(**changed: object) -> Call:
    """The call of an announcement that differs in these fields."""
    return hook.parse_announcement({**FIELDS, **changed}, "pbx-a")


def test_announcement_becomes_a_call() -> None:
    """Every field has its place in the call."""
    assert parsed() == Call(
        pbx="pbx-a",
        direction=Direction.INBOUND,
        mode=Mode.ON,
        trunk="carrier-1",
        orig="+12125550100",
        restricted=False,
        dest="16465550100",
        originator=("carrier",),
        came_in="carrier-1",
        came_in_id="pbx-1795309815.1",
        unique_id="pbx-1795309815.1",
        linked_id="pbx-1795309815.0",
        nonce=NONCE,
        budget_ms=2000,
        identity=("a.b.c;info=<https://x.example/>",),
        placed_by="PJSIP/carrier",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Ver", "2"),
        ("Ver", ""),
        ("Mode", "off"),
        ("Dir", "sideways"),
        ("Nonce", "short"),
        ("Nonce", NONCE + "0"),
        ("Nonce", "17953098153830\u0660\u0660"),
        ("Nonce", "1795309815383 00"),
        ("Trunk", ""),
        ("Trunk", "a b"),
        ("Trunk", "x" * 65),
        ("Budget", ""),
        ("Budget", "99"),
        ("Budget", "10001"),
        ("Budget", "1e3"),
        ("Budget", "\u0661\u0662\u0663"),
        ("Uniqueid", ""),
        ("Uniqueid", "a b"),
        ("Uniqueid", "a\nb"),
        ("Uniqueid", "1" * 151),
        ("Linkedid", "\x00"),
        ("CameIn", "a,b"),
        ("CameInId", "a b"),
        ("CameInId", "1" * 151),
        ("CameInId", ["1", "1"]),
        ("From", "a,b"),
        ("From", "%4"),
        ("From", "%zz"),
        ("From", "1" * 161),
        ("To", "(1)"),
        ("Pres", "Prohib"),
        ("Nonce", [NONCE, NONCE]),
        ("Uniqueid", ["a", "b"]),
        ("From", ["1", "2"]),
    ],
)
def test_malformed_field_is_refused(name: str, value: object) -> None:
    """A field that is missing, twice, too long or of foreign form is malformed."""
    with pytest.raises(MalformedAnnouncement):
        parsed(**{name: value})


@pytest.mark.parametrize(
    ("presentation", "restricted"),
    [
        ("allowed", False),
        ("allowed_passed_screen", False),
        ("unavailable", False),
        ("", False),
        ("prohib", True),
        ("prohib_passed_screen", True),
        ("prohib_not_screened", True),
    ],
)
def test_presentation_says_whether_orig_is_restricted(presentation: str, restricted: bool) -> None:
    """All of Asterisk's prohib words mean restricted, no other does."""
    assert parsed(Pres=presentation).restricted is restricted


@pytest.mark.parametrize(
    ("named", "channels", "accounts", "found"),
    [
        ("", ["PJSIP/alice-0000001f"], [], ("alice",)),
        ("", ["PJSIP/alice-smith-0000001F"], ["sales"], ("alice-smith", "sales")),
        ("", ["DAHDI/i1/5551234-1"], [], ("i1/5551234",)),
        ("", ["Local/100@x-00000001;2", "PJSIP/bob-00000002"], ["", "acc"], ("bob", "acc")),
        ("", ["Local/100@x-00000001;2", "Local/100@x-00000001;1"], [], ()),
        ("carol", ["PJSIP/alice-0000001f"], [], ("carol",)),
        ("", ["PJSIP/alice-0000001f"], ["alice"], ("alice",)),
        ("", ["AsyncGoto/PJSIP"], [], ()),
        ("", [""], [""], ()),
    ],
)
def test_originator_is_the_endpoint_then_the_account(
    named: str, channels: list[str], accounts: list[str], found: tuple[str, ...]
) -> None:
    """The name that the dialplan gave, else the first channel not Local; then the account."""
    assert hook.originators(named, channels, accounts) == found


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        (["PJSIP/carrier-0000001f", ""], "PJSIP/carrier"),
        (["PJSIP/carrier-1-0000001F", "PJSIP/alice-00000001"], "PJSIP/carrier-1"),
        (["Local/1@x-00000001;2", "SIP/alice-00000001"], "SIP/alice"),
        (["Local/1@x-00000001;2", "Local/1@x-00000001;1"], ""),
        (["DAHDI/i1/5551234-1"], "DAHDI/i1"),
        (["AsyncGoto/PJSIP/alice-00000001"], "PJSIP/alice"),
        (["Surrogate"], ""),
        ([], ""),
    ],
)
def test_whose_channel_placed_a_call(channels: list[str], found: str) -> None:
    """Its technology and endpoint, without what is the call's own."""
    assert hook.placed_by(channels) == found


def test_a_name_of_the_dialplan_s_does_not_hide_whose_channel_it_is() -> None:
    """A leg inherits the originator's name from whoever has called it."""
    call = parsed(Originator="alice", Placed="PJSIP%2Fcarrier-00000001")
    assert (call.originator, call.placed_by) == (("alice",), "PJSIP/carrier")


@pytest.mark.parametrize(
    ("said", "placed", "is_fixed"),
    [
        ("yes", "PJSIP%2Fcarrier-00000001", True),
        ("no", "PJSIP%2Fcarrier-00000001", False),
        ("", "PJSIP%2Fcarrier-00000001", False),
        ("maybe", "PJSIP%2Fcarrier-00000001", False),
        ("no", "DAHDI%2F1-1", False),
        ("", "DAHDI%2F1-1", True),
        ("", "", True),
    ],
)
def test_a_caller_who_may_change_his_number(said: str, placed: str, is_fixed: bool) -> None:
    """On PJSIP it is fixed where the dialplan says so, elsewhere unless the dialplan denies it."""
    assert parsed(Fixed=said, Placed=placed).caller_id_fixed is is_fixed
    # nobody is verified who calls out
    assert parsed(Fixed=said, Placed=placed, Dir="out").caller_id_fixed


@pytest.mark.parametrize(
    ("placed", "first", "linked", "is_orphan"),
    [
        ("Local%2F1%40x-01%3B2", "Local%2F1%40x-01%3B2", "7.7", True),
        ("Local%2F1%40x-01%3B1", "Local%2F1%40x-01%3B1", "1.1", False),
        ("Local%2F1%40x-01%3B2", "Local%2F1%40x-01%3B1", "7.7", False),
        ("Local%2F1%40x-01%3B2", "PJSIP%2Falice-01", "7.7", False),
        ("PJSIP%2Falice-01", "PJSIP%2Falice-01", "7.7", False),
        ("", "", "7.7", False),
    ],
)
def test_a_local_channel_whose_caller_has_gone(
    placed: str, first: str, linked: str, is_orphan: bool
) -> None:
    """The first of its calls is not there: it is named itself, and is not the first by its id."""
    call = parsed(Placed=placed, First=first, Uniqueid="1.1", Linkedid=linked)
    assert call.is_orphan is is_orphan


def test_text_is_decoded_once_and_holds_no_control_characters() -> None:
    """Line breaks and octets that are no UTF-8 become a character that no number holds."""
    assert parsed(From="%2531").orig == "%31"
    assert parsed(From="1%0D%0A2").orig == "1\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}2"
    assert parsed(From="%ff").orig == "\N{REPLACEMENT CHARACTER}"
    assert parsed(From="%C3%9C").orig == "Ü"


@pytest.mark.parametrize("fold", ["%0D%0A%20", "%0d%0a%09", "%0A%20%20%09"])
def test_folded_identity_header_is_unfolded(fold: str) -> None:
    """A header may go on in the next line; a line break by itself is none, and stays foreign."""
    assert parsed(Identity1=f"a.b.c{fold}%3Balg%3DES256").identity == ("a.b.c ;alg=ES256",)
    assert "\N{REPLACEMENT CHARACTER}" in parsed(Identity1="a.b.c%0D%0Aalg").identity[0]


def test_identity_headers_keep_their_order_and_number() -> None:
    """One to four, empty ones left out, a fifth not read."""
    call = parsed(Identity1="a", Identity2="", Identity3="c", Identity4="d", Identity5="e")
    assert call.identity == ("a", "c", "d")


@pytest.mark.parametrize("value", ["a b", "a" * 3001, "%2", ["a", "b"]])
def test_malformed_identity_header_is_none(value: object) -> None:
    """A header that cannot be read costs the call nothing but itself."""
    assert parsed(Identity1=value, Identity2="b").identity == ("b",)


def test_waiting_call_can_be_released_even_if_malformed() -> None:
    """Unique id and nonce are found where the rest of the announcement is wrong."""
    assert hook.waiting({**FIELDS, "Trunk": ""}) == ("pbx-1795309815.1", NONCE)
    assert hook.waiting({**FIELDS, "Nonce": "?"}) is None


def test_end_of_a_call_is_read() -> None:
    """Answered is yes or no and nothing else."""
    assert hook.parse_ended({**FIELDS, "Answered": "yes"}).answered
    assert not hook.parse_ended({**FIELDS, "Answered": "no"}).answered
    with pytest.raises(MalformedAnnouncement):
        hook.parse_ended({**FIELDS, "Answered": "perhaps"})


def test_answer_is_one_write_that_begins_with_the_nonce() -> None:
    """The fields stand in their fixed order, whatever order they come in."""
    given_ = [("STIR_ID", "x"), ("STIR_VERSTAT", "TN-Validation-Passed"), ("STIR_SIGNER", "A B")]
    assert hook.pack_answer(NONCE, given_) == (
        ("STIR_ANSWER", f"{NONCE}||TN-Validation-Passed|||||A B|x|||"),
    )


def test_foreign_values_do_not_pass() -> None:
    """A value with a separator, a line break or a non-ASCII letter is left empty."""
    for value in ("a|b", "a\r\nb", "a,b", "ü", "${X}", "a\x00", "x" * 513):
        assert hook.pack_answer(NONCE, [("STIR_SIGNER", value)])[0][1] == f"{NONCE}|||||||||||"


def test_long_answer_is_written_in_parts_before_its_release() -> None:
    """The parts are named by the nonce, fit a line, and join to the fields; the release is last."""
    values = [("STIR_SIGNER", "s" * 500), ("STIR_ORIG", "1" * 500), ("STIR_ID", "i" * 400)]
    *parts, release = hook.pack_answer(NONCE, values)
    assert release == ("STIR_ANSWER", f"{NONCE}|+|{len(parts)}")
    assert [name for name, _ in parts] == [f"STIR_ANSWER_{NONCE}_{n}" for n in (1, 2)]
    assert all(len(part) <= hook.PART_OCTETS for _, part in parts)
    assert "".join(part for _, part in parts) == f"||||{'1' * 500}||{'s' * 500}|{'i' * 400}|||"


HEADER = quote("a.b.c;info=<https://x.example/>;alg=ES256", safe="")


def test_headers_come_in_parts_before_the_release() -> None:
    """A header of 3,600 octets fits into four parts; how many there are is the last field."""
    long = "a" * hook.LONGEST_HEADER
    given_ = [("STIR_ID", "x"), ("STIR_IDENTITY_1", long), ("STIR_IDENTITY_2", HEADER)]
    *parts, release = hook.pack_answer(NONCE, given_)
    assert release == ("STIR_ANSWER", f"{NONCE}||||||||x||||2")
    names = [name for name, _ in parts]
    assert names == [
        *(f"STIR_IDENTITY_{NONCE}_1_{n}" for n in (1, 2, 3, 4)),
        f"STIR_IDENTITY_{NONCE}_2_1",
    ]
    assert "".join(value for _, value in parts[:4]) == long
    assert parts[4][1] == HEADER
    assert all(len(name) + len(value) < 1000 for name, value in parts)


@pytest.mark.parametrize("value", ["", "a b", "a;b", "ü", "%2", "a" * 3601, "${X}", "a\r\nb"])
def test_a_foreign_header_is_not_written(value: str) -> None:
    """One that may not be written takes the others with it: half a chain says nothing."""
    given_ = [("STIR_ID", "x"), ("STIR_IDENTITY_1", HEADER), ("STIR_IDENTITY_2", value)]
    assert hook.pack_answer(NONCE, given_) == hook.pack_answer(NONCE, given_[:1])
    many = [(f"STIR_IDENTITY_{n}", HEADER) for n in range(1, 6)]
    assert hook.pack_answer(NONCE, many) == hook.pack_answer(NONCE, [])


def test_a_name_may_have_letters_of_any_script() -> None:
    """Names and reasons of calls are for people; no other field is."""
    for value in ("Zoë Müller", "株式会社", "Ольга"):
        (_, packed), *_ = hook.pack_answer(NONCE, [("STIR_NAME", value)])
        assert packed.split("|")[9] == value
        (_, packed), *_ = hook.pack_answer(NONCE, [("STIR_SIGNER", value)])
        assert value not in packed
    for value in ("a|b", "a\u202eb", "a,b", "${X}", "a\u0301\u200b"):
        (_, packed), *_ = hook.pack_answer(NONCE, [("STIR_NAME", value)])
        assert packed.split("|")[9] == ""


def test_a_long_name_is_cut_between_characters() -> None:
    """Parts are measured in octets, and each is text by itself."""
    given_ = [("STIR_NAME", "株" * 150), ("STIR_CALL_REASON", "é" * 250)]
    *parts, release = hook.pack_answer(NONCE, given_)
    assert release[1] == f"{NONCE}|+|{len(parts)}"
    assert all(len(part.encode()) <= hook.PART_OCTETS for _, part in parts)
    assert "".join(part for _, part in parts) == f"||||||||{'株' * 150}|{'é' * 250}|"


@pytest.mark.parametrize(("said", "headers"), [("", 4), ("1", 1), ("0", 0)])
def test_an_announcement_says_how_many_headers_its_leg_takes(said: str, headers: int) -> None:
    """Where it says nothing, four; what is no such number is malformed."""
    assert parsed(Headers=said).headers == headers
    with pytest.raises(MalformedAnnouncement):
        parsed(Headers="5")


def test_unknown_variables_and_nonces_are_refused() -> None:
    """An answer is not written in part."""
    with pytest.raises(PbxStirError):
        hook.pack_answer(NONCE, [("PATH", "x")])
    with pytest.raises(PbxStirError):
        hook.pack_answer("1|2", [])


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.one_of(st.text(), st.lists(st.text()))))
def test_any_fields_give_a_call_or_are_malformed(changed: dict[str, object]) -> None:
    """No announcement raises anything else."""
    try:
        call = parsed(**changed)
    except MalformedAnnouncement:
        return
    assert len(call.orig) <= 160
    assert call.orig.isprintable()


@given(st.lists(st.tuples(st.sampled_from(hook.ANSWER_FIELDS), st.text(max_size=600))))
def test_any_answer_fits_its_lines(variables: list[tuple[str, str]]) -> None:
    """Whatever the values, no write is longer than a line or holds a line break."""
    for name, value in hook.pack_answer(NONCE, variables):
        assert len(name) + len(value.encode()) < 1000
        assert value.isprintable()


@given(st.text(max_size=50))
def test_encoded_text_comes_back(text: str) -> None:
    """Printable text survives the encoding that the dialplan applies."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(text.encode()) <= 160:
        assert parsed(From=quote(text, safe="")).orig == shown

"""What pbx_stir.stir.number promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import ConfigurationError, MalformedNumber
from pbx_stir.stir import number
from pbx_stir.stir.number import Called, NumberRules, NumberSet

US = NumberRules("1")
UK = NumberRules("44")
NONE = NumberRules()


@pytest.mark.parametrize(
    "text",
    ["12125551234", "2125551234", "+12125551234", "+1 212 555 1234", "(212) 555-1234",
     "1-212-555-1234", "212.555.1234", "+1 (212) 555-1234", "tel:+12125551234",
     "TEL:+1-212-555-1234;tgrp=a;trunk-context=b.example", "sip:+12125551234@example.com",
     "sip:2125551234@example.com:5060;user=phone", "sips:+12125551234@[2001:db8::1]:5061",
     "sip:2125551234;tgrp=x;trunk-context=y@h;transport=tcp;USER=PHONE", "sip:%2B12125551234@h",
     "12125551234;tgrp=x", "tel:2125551234;phone-context=+1", " 2125551234 ", "01112125551234",
     "tel:2125551234;phone-context=example.com", "00 1 212 555 1234"],
)  # fmt: skip
def test_forms_of_one_north_american_number(text: str) -> None:
    """Every way to write one number on a trunk of country code 1 gives just that number."""
    assert number.candidates(text, US) == ("12125551234",)
    assert number.outbound(text, US) == "12125551234"


@pytest.mark.parametrize(
    "text",
    ["", "+", "abc", "call 2125551234", "2125551234x5", "2125551234 ext 5", "\u0661\u0662\u0663",
     "+\uff11\uff12125551234", "*672125551234", "2125551234#", "+1+2125551234", "12+125551234",
     "(212)) 555-1234", "((212) 555-1234", "2125551234\n", "212\t5551234", "212-----5551234",
     "tel:", "tel:+", "sip:", "sip:@h", "sip:2125551234@h", "sip:2125551234", "sip:alice@h",
     "sip:alice2125551234@h;user=phone", "sip:+12125551234:pw@h", "sip:+12125551234@h?x=y",
     "sip:+12125551234@h@i", "sip:+12125551234@", "sip:+12125551234@h;", "http:2125551234",
     '"Bob" <sip:+12125551234@h>', "<sip:+12125551234@h>", "tel:+12125551234;ext=5",
     "2125551234;ext=5", "tel:2125551234;phone-context=+44", "tel:+12125551234;a b", "192.168.1.1",
     "+01234567890", "5551234", "101", "911", "1" * 16, "+" + "1" * 16, "1" * 5_000,
     "2125551234,2125551235", "${EXTEN}", "2125551234;", "anonymous"],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    """Digits are never scraped out of other text, and nothing is guessed: MalformedNumber."""
    with pytest.raises(MalformedNumber):
        number.candidates(text, US)


@pytest.mark.parametrize(
    ("text", "rules", "expected"),
    [
        ("02079460123", UK, ("442079460123",)),
        ("00442079460123", UK, ("442079460123",)),
        ("0012125551234", UK, ("12125551234",)),
        ("442079460123", UK, ("442079460123", "44442079460123")),
        ("33123456789", UK, ("33123456789", "4433123456789")),
        ("2079460123", UK, ("2079460123", "442079460123")),
        ("2079460123", NumberRules("44", national_length=(9, 10)), ("442079460123",)),
        ("33123456789", NumberRules("44", national_length=(9, 10)), ("33123456789",)),
        ("442079460123", US, ("442079460123",)),
        ("011442079460123", US, ("442079460123",)),
        ("45123456", NumberRules("45"), ("4545123456",)),
        ("4545123456", NumberRules("45"), ("4545123456",)),
        ("0612345678", NumberRules("39"), ("390612345678",)),
        ("89161234567", NumberRules("7"), ("79161234567",)),
        ("92125551234", NumberRules("1", strip="9"), ("12125551234", "92125551234")),
        ("9175551234", NumberRules("1", strip="9"), ("19175551234", "175551234")),
        ("9+12125551234", NumberRules("1", strip="9"), ("12125551234",)),
        ("990442079460123", NumberRules("1", international_prefixes=("990",)), ("442079460123",)),
        ("+33123456789012345", NumberRules("33", max_digits=17), ("33123456789012345",)),
        ("2125551234", NONE, ("2125551234",)),
        ("00442079460123", NONE, ("00442079460123",)),
        ("+12125551234", NONE, ("12125551234",)),
    ],
)
def test_readings_by_country(text: str, rules: NumberRules, expected: tuple[str, ...]) -> None:
    """Prefixes, lengths and the country code decide what bare digits may mean, likeliest first."""
    assert number.candidates(text, rules) == expected


def test_optional_trunk_zero_in_brackets_is_refused() -> None:
    """ "+44 (0)20" could be read in two ways, so it is not read."""
    with pytest.raises(MalformedNumber):
        number.candidates("+44 (0)20 7946 0123", UK)


plans = st.sampled_from([US, UK, NONE, NumberRules("39"), NumberRules("1", strip="9")])


@given(st.text() | st.text("+0123456789-. ()*#;=@:siptel", max_size=30), plans)
def test_any_text_gives_few_numbers_or_is_refused(text: str, rules: NumberRules) -> None:
    """Whatever the text: one to three different canonical numbers, or MalformedNumber."""
    try:
        found = number.candidates(text, rules)
    except MalformedNumber:
        return
    assert 1 <= len(found) == len(set(found)) <= 3
    for one in found:
        assert number.canonical(one) == one


@given(st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True), plans)
def test_plus_and_digits_mean_just_that(digits: str, rules: NumberRules) -> None:
    """A number with "+" is never ambiguous, whatever the trunk's rules."""
    assert number.candidates("+" + digits, rules) == (digits,)


@pytest.mark.parametrize(
    "wrong",
    [{"country_code": "+1"}, {"country_code": "0"}, {"country_code": "1234"},
     {"national_prefix": "0"}, {"national_length": (10,)},
     {"country_code": "1", "national_prefix": "x"},
     {"country_code": "1", "international_prefixes": ("",)}, {"strip": "a"}, {"max_digits": 99},
     {"country_code": "1", "national_length": (0,)}, {"country_code": "1\n"}],
)  # fmt: skip
def test_rules_check_themselves(wrong: dict[str, object]) -> None:
    """Rules that cannot hold are a ConfigurationError when they are made."""
    with pytest.raises(ConfigurationError):
        NumberRules(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["", " ", "anonymous", "Anonymous", "RESTRICTED", "unavailable", "unknown", "private",
     "sip:anonymous@anonymous.invalid", "anonymous@anonymous.invalid", "x@anonymous.invalid",
     '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1', "sip:anonymous@example.com"],
)  # fmt: skip
def test_withheld_numbers(text: str) -> None:
    """What stands where a caller withheld his number is known in every spelling."""
    assert number.is_anonymous(text)


@pytest.mark.parametrize(
    "text", ["12125551234", "+1", "anonymousx", "sip:alice@example.com", "x" * 5000, "0"]
)
def test_other_texts_are_not_withheld(text: str) -> None:
    """A number, a name and rubbish are not taken for a withheld number."""
    assert not number.is_anonymous(text)


@given(st.text())
def test_withheld_or_emergency_never_raise(text: str) -> None:
    """Both questions have an answer for any text."""
    assert number.is_anonymous(text) in {True, False}
    assert number.is_emergency(text) in {True, False}


def test_did_stands_for_its_aliases() -> None:
    """A DID that is configured gives its one to four numbers, however the PBX writes it."""
    aliases = {"4000": ("12125551234", "18005551234"), "+12125559999": ("18885550000",)}
    assert number.called("4000", US, aliases) == ("12125551234", "18005551234")
    assert number.called("2125559999", US, aliases) == ("18885550000",)
    assert number.called("2125550000", US, aliases) == ("12125550000",)
    assert Called(aliases).numbers("4000", US) == ("12125551234", "18005551234")
    with pytest.raises(MalformedNumber):
        number.called("4001", US, aliases)


@pytest.mark.parametrize("numbers", [(), ("1", "2", "3", "4", "5"), ("+1",), ("x",)])
def test_aliases_check_themselves(numbers: tuple[str, ...]) -> None:
    """An alias for no number, for more than four or for anything but digits is refused."""
    with pytest.raises(ConfigurationError):
        Called({"4000": numbers})


@pytest.mark.parametrize(
    "text",
    ["911", "9911", "9-911", "9 911", "112", "0112", "00112", "8911", "+911", "911#", "sip:911@x",
     "sip:112@x;user=phone", "tel:911;phone-context=+1", "urn:service:sos", "URN:service:sos.fire"],
)  # fmt: skip
def test_emergency_numbers_in_every_form(text: str) -> None:
    """Emergency numbers are known as dialled and as sent, with an outside-line prefix or not."""
    assert number.is_emergency(text)


@pytest.mark.parametrize("text", ["12125550911", "5112", "91", "", "911911", "1911555", "alice"])
def test_other_numbers_are_no_emergency(text: str) -> None:
    """A number that merely contains an emergency number is not one."""
    assert not number.is_emergency(text)


def test_emergency_numbers_are_the_ones_given() -> None:
    """An administrator's own set and prefixes replace the built-in ones."""
    own = frozenset({"4711"})
    assert number.is_emergency("7-4711", own, ("", "7"))
    assert not number.is_emergency("911", own)


def test_excluded_by_any_reading() -> None:
    """A number is excluded when any of its readings is; text that is no number is not."""
    never = NumberSet.parse(["+1900*", "+442079460123"])
    assert number.is_excluded("900 555 1234", US, never)
    assert number.is_excluded("2079460123", UK, never)
    assert not number.is_excluded("2125551234", US, never)
    assert not number.is_excluded("alice", US, never)

"""Telephone numbers: what PBXs, trunks and tokens write, as canonical digit strings.

A canonical number is a plain ``str`` of ASCII digits without "+" ("12125551234"), as in the ``tn``
of a PASSporT. This module reads the many ways in which a number is written into that one, and
never guesses: digits are not scraped out of other text, digits of other scripts are not digits,
and where a text may mean several numbers ``candidates`` gives them all. It knows no call, no trunk
but its ``NumberRules``, and no configuration file.

Source: RFC 8224 section 8.3 (canonical form), RFC 3966 (tel), RFC 3261 section 19.1.6 (sip with
user=phone), RFC 4904 (tgrp), RFC 8816 section 9 (the path of a CPS).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pbx_stir.errors import ConfigurationError, MalformedNumber
from pbx_stir.stir.digits import MAX_DIGITS, canonical, from_cps_path
from pbx_stir.stir.number_set import NumberSet

__all__ = [
    "DEFAULT_EMERGENCY",
    "MAX_DIGITS",
    "Called",
    "NumberRules",
    "NumberSet",
    "called",
    "candidates",
    "canonical",
    "from_cps_path",
    "is_anonymous",
    "is_emergency",
    "is_excluded",
    "outbound",
]

MOST_CANDIDATES: Final = 3
MOST_ALIASES: Final = 4
_MAX_TEXT: Final = 1_024
# with fewer digits a bare number is a local or internal one, not one with another country's code
_SHORTEST_INTERNATIONAL: Final = 8
_SHORTEST_NATIONAL: Final = 4

_WRITTEN: Final = re.compile(r"\(?(\+?)(\(?[0-9](?:[-. ()]{0,3}[0-9])*\)?)")
_SEPARATORS: Final = str.maketrans("", "", "-. ()")
_IPV4: Final = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(?:\.(?!$)|$)){4}")
_PARAMETER: Final = re.compile(r"([A-Za-z0-9-]{1,64})(?:=([!-:<-~]{1,255}))?")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ANONYMOUS: Final = re.compile(
    r"(?:|anonymous|restricted|unavailable|unknown|private|withheld|blocked"
    r"|(?:.*<)?(?:sips?:)?(?:anonymous|restricted|unavailable|unknown)@[^<>]*>?.*"
    r"|.*@anonymous\.invalid\b.*)",
    re.IGNORECASE | re.DOTALL,
)


class _Plan(NamedTuple):
    """What is dialled before national and international numbers, and how long national ones are."""

    national_prefix: str
    international: tuple[str, ...]
    lengths: tuple[int, ...]


# what an administrator need not say; lengths only where the numbering plan has one and is closed
_PLANS: Final = {
    "": _Plan("", (), ()),
    "1": _Plan("1", ("011", "00"), (10,)),
    "7": _Plan("8", ("810", "00"), (10,)),
    "34": _Plan("", ("00",), (9,)),
    "39": _Plan("", ("00",), ()),  # the leading 0 belongs to the number
    "30": _Plan("", ("00",), (10,)),
    "45": _Plan("", ("00",), (8,)),
    "47": _Plan("", ("00",), (8,)),
    "48": _Plan("", ("00",), (9,)),
    "61": _Plan("0", ("0011", "00"), ()),
    "65": _Plan("", ("001", "000", "00"), (8,)),
    "81": _Plan("0", ("010", "00"), ()),
    "351": _Plan("", ("00",), (9,)),
    "420": _Plan("", ("00",), (9,)),
    "852": _Plan("", ("001", "00"), (8,)),
}
_ELSEWHERE: Final = _Plan("0", ("00",), ())


@dataclass(frozen=True, slots=True)
class NumberRules:
    """How one trunk writes numbers.

    ``country_code``: digits ("1", "44"); empty: digits are canonical as they stand.
    ``national_prefix`` and ``international_prefixes``: what stands before national and
    international numbers; empty: what is usual in the country. ``strip``: what a PBX or carrier
    puts in front (``0-9*#+``), taken off once where it is there. ``national_length``: how many
    digits a national number has without prefix; empty: as usual, any where the plan is open.
    ``max_digits``: the most a number may have, above 15 only where a country needs it (France's
    routing prefixes). Raises ConfigurationError.
    """

    country_code: str = ""
    national_prefix: str = ""
    international_prefixes: tuple[str, ...] = ()
    strip: str = ""
    national_length: tuple[int, ...] = ()
    max_digits: int = MAX_DIGITS

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(?:[1-9][0-9]{0,2})?", self.country_code):
            raise ConfigurationError(
                f"country_code {self.country_code!r} is not 1 to 3 digits",
                hint='write it without "+", as in "44"',
            )
        for prefix in (self.national_prefix, *self.international_prefixes):
            if not re.fullmatch(r"[0-9]{0,6}", prefix):
                raise ConfigurationError(f"prefix {prefix!r} is not digits")
        if "" in self.international_prefixes:
            raise ConfigurationError("an international prefix is empty")
        if not re.fullmatch(r"[0-9*#+]{0,16}", self.strip):
            raise ConfigurationError(f"strip {self.strip!r} is not of the characters 0-9*#+")
        if not self.country_code and (self.national_prefix or self.national_length):
            raise ConfigurationError(
                "national_prefix and national_length say nothing without a country_code"
            )
        if not all(1 <= length <= 15 for length in self.national_length):
            raise ConfigurationError("national_length is not of 1 to 15 digits")
        if not 7 <= self.max_digits <= 32:
            raise ConfigurationError(f"max_digits {self.max_digits} is not 7 to 32")

    def plan(self) -> _Plan:
        """Give the prefixes and lengths in force: the configured ones over the country's."""
        usual = _PLANS.get(self.country_code, _ELSEWHERE)
        return _Plan(
            self.national_prefix or usual.national_prefix,
            self.international_prefixes or usual.international,
            self.national_length or usual.lengths,
        )


def outbound(text: str, rules: NumberRules) -> str:
    """Read a number as dialled, or as the trunk will present it, as the one it most likely is.

    Raises MalformedNumber where ``candidates`` does.
    """
    return candidates(text, rules)[0]


def candidates(text: str, rules: NumberRules) -> tuple[str, ...]:
    """Give the one to three canonical numbers that ``text`` may mean, most likely first.

    Accepts digits, "+", the separators ``-. ()`` between digits, ``tel:`` and ``sip:`` URIs (the
    latter with user=phone or a "+"), RFC 3966 and RFC 4904 parameters after ``;`` (dropped; an
    extension is refused). Raises MalformedNumber for everything else, and where no reading fits.
    """
    part = _number_part(text, rules)
    forms = [part]
    if rules.strip and part.startswith(rules.strip):
        forms.insert(0, part[len(rules.strip) :])
    likely: list[str] = []
    possible: list[str] = []
    for form in forms:
        written = _WRITTEN.fullmatch(form)
        if written is None or not _balanced(form):
            continue
        digits = written[2].translate(_SEPARATORS)
        if written[1]:
            # E.164 begins with a country code, and "+44 (0)20" is not one number but two
            likely += [] if digits.startswith("0") or "(0)" in form else [digits]
        else:
            some, others = _readings(digits, rules)
            likely += some
            possible += others
    fitting = dict.fromkeys(one for one in likely + possible if len(one) <= rules.max_digits)
    if not fitting:
        raise MalformedNumber(f"{text[:40]!r} is not a telephone number on this trunk")
    return tuple(fitting)[:MOST_CANDIDATES]


def _readings(digits: str, rules: NumberRules) -> tuple[list[str], list[str]]:
    """Read digits without "+": the likely canonical numbers, then the merely possible ones."""
    code = rules.country_code
    prefix, international, lengths = rules.plan()
    for dialled in sorted(international, key=len, reverse=True):
        rest = digits[len(dialled) :]
        if digits.startswith(dialled) and len(rest) >= 7 and not rest.startswith("0"):
            return [rest], []
    if not code:
        return [digits], []
    likely = []
    rest = digits[len(prefix) :]
    if prefix and digits.startswith(prefix) and _is_national(rest, prefix, lengths):
        likely.append(code + rest)
    rest = digits[len(code) :]
    if digits.startswith(code) and (len(rest) in lengths if lengths else len(rest) >= 6):
        likely.append(digits)
    if len(digits) in lengths:
        likely.append(code + digits)
    as_it_stands = []
    if len(digits) >= _SHORTEST_INTERNATIONAL and not digits.startswith("0"):
        as_it_stands = [digits]
    if lengths:
        # known lengths decide: a national number is not also tried as another country's
        return likely, [] if likely else as_it_stands
    if prefix and digits.startswith(prefix):
        return likely, []
    if not _is_national(digits, prefix, lengths):
        return likely, as_it_stands
    # without a prefix to tell them apart national numbers come bare; with one, foreign ones do
    national = [code + digits]
    return likely, as_it_stands + national if prefix else national + as_it_stands


def _is_national(rest: str, prefix: str, lengths: tuple[int, ...]) -> bool:
    """Tell whether ``rest`` may be a national number, its prefix taken off."""
    if lengths:
        return len(rest) in lengths
    return len(rest) >= _SHORTEST_NATIONAL and not (prefix == "0" and rest.startswith("0"))


def _balanced(form: str) -> bool:
    """Tell whether every bracket opened is closed before another opens."""
    brackets = "".join(one for one in form if one in "()")
    return brackets == "()" * (len(brackets) // 2)


def _number_part(text: str, rules: NumberRules) -> str:
    """Give the part of a URI or plain text that is the number as written, parameters checked."""
    if len(text) > _MAX_TEXT or not text.isascii():
        raise MalformedNumber(f"{text[:40]!r} is not a telephone number")
    text = text.strip(" ")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower() if colon else ""
    if scheme in {"sip", "sips"}:
        user, _, host = rest.partition("@")
        place, *uri_parameters = host.split(";")
        part, *parameters = user.split(";")
        if part[:3].lower() == "%2b":
            part = "+" + part[3:]
        is_phone = part.startswith("+") or "user=phone" in map(str.lower, uri_parameters)
        if not (is_phone and _HOST.fullmatch(place)):
            raise MalformedNumber(f"{text[:40]!r} is not the URI of a telephone number")
        _check_parameters(uri_parameters, rules)
    elif scheme in {"tel", ""}:
        part, *parameters = (rest if colon else text).split(";")
    else:
        raise MalformedNumber(f"{text[:40]!r} is not the URI of a telephone number")
    _check_parameters(parameters, rules)
    if not scheme and _IPV4.fullmatch(part):
        raise MalformedNumber(f"{text[:40]!r} is an address, not a telephone number")
    return part


def _check_parameters(parameters: list[str], rules: NumberRules) -> None:
    """Drop parameters of RFC 3966, RFC 3261 and RFC 4904, but for those that change the number."""
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None:
            raise MalformedNumber(f"{parameter[:40]!r} is not a parameter of a telephone number")
        name, value = match[1].lower(), match[2] or ""
        if name == "ext":
            raise MalformedNumber("a number with an extension is not one telephone number")
        # a local number of another country would be read as one of ours
        if name == "phone-context" and value.startswith("+") and value[1:] != rules.country_code:
            raise MalformedNumber(f"local number in the context of {value[:40]!r}")


def is_anonymous(text: str) -> bool:
    """Tell whether ``text`` is what stands where a number is withheld, in any letter case.

    Empty, one of a few words, a URI with such a user, or any at anonymous.invalid (RFC 3323).
    """
    return len(text) <= _MAX_TEXT and _ANONYMOUS.fullmatch(text.strip()) is not None


@dataclass(frozen=True, slots=True)
class Called:
    """What a trunk's DIDs stand for: each maps to one to four canonical numbers.

    For short DNIS, toll-free numbers and aliases. Keys are as the PBX has them, or canonical with
    or without "+". Raises ConfigurationError for a value that is none.
    """

    aliases: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for did, numbers in self.aliases.items():
            if not 1 <= len(numbers) <= MOST_ALIASES:
                raise ConfigurationError(f"DID {did!r} stands for 1 to {MOST_ALIASES} numbers")
            for number in numbers:
                if not (number.isascii() and number.isdigit()):
                    raise ConfigurationError(f"DID {did!r} stands for {number!r}, not for digits")

    def numbers(self, text: str, rules: NumberRules) -> tuple[str, ...]:
        """Give the canonical numbers that ``text`` stands for, as ``called`` does."""
        return called(text, rules, self.aliases)


def called(
    text: str, rules: NumberRules, aliases: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Give the canonical numbers that a called number or DID may be, most likely first.

    ``aliases`` decide alone where they name it, as it is written or as one of its readings; else
    its candidates are given. Raises MalformedNumber.
    """
    if text in aliases:
        return aliases[text]
    readings = candidates(text, rules)
    for reading in readings:
        for key in (reading, "+" + reading):
            if key in aliases:
                return aliases[key]
    return readings


def is_excluded(text: str, rules: NumberRules, excluded: NumberSet) -> bool:
    """Tell whether any number that ``text`` may mean is in ``excluded``; False for no number."""
    try:
        return any(one in excluded for one in candidates(text, rules))
    except MalformedNumber:
        return False


# emergency numbers the world over; an administrator gives the country's own instead
DEFAULT_EMERGENCY: Final = frozenset(
    "000 100 101 102 103 108 10111 110 111 112 113 114 115 117 118 119 120 122 123 131 132 133 144"  # noqa: SIM905
    " 15 17 18 190 191 192 193 197 199 911 933 988 991 992 993 995 997 998 999".split()
)


def is_emergency(
    text: str,
    emergency: frozenset[str] = DEFAULT_EMERGENCY,
    prefixes: tuple[str, ...] = ("", "0", "00", "8", "9"),
) -> bool:
    """Tell whether ``text`` calls for help: an emergency number, as dialled or as sent.

    Lenient where all else here is strict, since a false yes costs one signature and a false no may
    cost the caller seconds: separators, "+", "#" at the end, schemes, hosts and parameters do not
    matter, one of ``prefixes`` may stand in front ("9-911"), and urn:service:sos (RFC 5031) counts.
    """
    text = text[:_MAX_TEXT].strip().lower()
    if text.startswith("urn:service:sos"):
        return True
    text = re.sub(r"^(?:sips?|tel):", "", text)
    dialled = re.split(r"[@;?]", text, maxsplit=1)[0].translate(_SEPARATORS)
    dialled = dialled.removeprefix("+").removesuffix("#")
    return any(
        dialled.startswith(prefix) and dialled[len(prefix) :] in emergency for prefix in prefixes
    )

"""The configuration's trunks and callers as the services take them.

Takes a ``config.Loaded``; names file and key of what is wrong.
"""

from __future__ import annotations

from pbx_stir.config import CallerSection, Loaded, OriginatorSection, TrunkSection
from pbx_stir.configured import number_set
from pbx_stir.errors import ConfigurationError, MalformedNumber, Mistakes
from pbx_stir.services import treatment
from pbx_stir.services.trunk import Callers, Shown, Trunk
from pbx_stir.stir import number
from pbx_stir.stir.number import NumberRules, NumberSet


def callers(loaded: Loaded) -> Callers:
    """The trunks, and who may claim which number on them."""
    mistakes = Mistakes()
    trunks: dict[str, Trunk] = {}
    seen: set[str] = set()
    for index, section in enumerate(loaded.values.trunk):
        with mistakes.gathered():
            _only_one(loaded, f"trunk[{index}].name", section.name, seen)
            trunks[section.name] = _trunk(loaded, f"trunk[{index}]", section)
    originators: dict[str, NumberSet] = {}
    named: dict[str, Shown] = {}
    seen = set()
    for index, one in enumerate(loaded.values.originator):
        key = f"originator[{index}]"
        with mistakes.gathered():
            _only_one(loaded, f"{key}.name", one.name, seen)
            named[one.name] = _shown(loaded, key, one)
            if one.numbers is not None:
                originators[one.name] = number_set(loaded, f"{key}.numbers", one.numbers)
    numbered: list[tuple[NumberSet, Shown]] = []
    for index, caller in enumerate(loaded.values.caller):
        key = f"caller[{index}]"
        with mistakes.gathered():
            numbers = number_set(loaded, f"{key}.numbers", caller.numbers)
            numbered.append((numbers, _shown(loaded, key, caller)))
    mistakes.settle()
    return Callers(trunks, originators, named, numbered)


def _only_one(loaded: Loaded, key: str, name: str, seen: set[str]) -> None:
    """Refuse a name that was there before; that one may be wrong in another way."""
    if name in seen:
        raise loaded.wrong(key, f"a second {key.partition('[')[0]} {name!r}")
    seen.add(name)


def _shown(loaded: Loaded, key: str, section: OriginatorSection | CallerSection) -> Shown:
    """What is said of a caller; refused where those who are called could not be shown it whole."""
    for name, text in (
        ("display_name", section.display_name),
        ("call_reason", section.call_reason),
    ):
        shown = treatment.readable(text, treatment.LONGEST_VALUE)
        if shown != text:
            hint = (
                f"letters, digits, blanks and . + @ _ - \N{RIGHT SINGLE QUOTATION MARK}: {shown!r}"
            )
            raise loaded.wrong(f"{key}.{name}", f"{text!r} has signs that are not shown", hint)
    return Shown(section.display_name, section.call_reason)


def _trunk(loaded: Loaded, key: str, section: TrunkSection) -> Trunk:
    try:
        rules = NumberRules(
            country_code=section.country_code,
            national_prefix=section.national_prefix,
            international_prefixes=section.international_prefixes,
            strip=section.strip,
            max_digits=section.max_digits,
        )
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error
    presents = ""
    if section.present != "from":
        presents = _number(loaded, f"{key}.present", section.present, section.max_digits)
    aliases: dict[str, tuple[str, ...]] = {}
    for did, listed in section.called.items():
        meant = (listed,) if isinstance(listed, str) else listed
        at = f"{key}.called.{did}"
        if not 1 <= len(meant) <= number.MOST_ALIASES:
            raise loaded.wrong(at, f"not 1 to {number.MOST_ALIASES} numbers")
        aliases[did] = tuple(_number(loaded, at, one, section.max_digits) for one in meant)
    return Trunk(
        name=section.name,
        rules=rules,
        numbers=number_set(loaded, f"{key}.numbers", section.numbers, section.max_digits),
        presents=presents,
        attest=section.attest,
        aliases=aliases,
        wait_for_passport_ms=section.wait_for_passport_ms,
        in_band=section.in_band,
        endpoints=section.endpoints,
    )


def _number(loaded: Loaded, key: str, text: str, max_digits: int) -> str:
    try:
        return number.canonical(text, max_digits=max_digits)
    except MalformedNumber as error:
        hint = 'digits with the country code, "+12125551234"'
        raise loaded.wrong(key, error.message, hint) from error

"""Telephone numbers on a command line."""

from __future__ import annotations

from pbx_stir.errors import MalformedNumber, UsageError
from pbx_stir.stir import number
from pbx_stir.stir.number import NumberRules


def rules(country_code: str | None) -> NumberRules:
    """The rules for ``country_code``; without one, digits are canonical as they stand.

    Raises:
        UsageError: it is no country code
    """
    if country_code is None:
        return NumberRules()
    digits = country_code.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and 1 <= len(digits) <= 3):
        raise UsageError(f"--country-code {country_code!r} is no country code")
    return NumberRules(country_code=digits)


def canonical(option: str, text: str, country_code: str | None) -> str:
    """The canonical number that ``option`` gives.

    Raises:
        UsageError: it is no telephone number
    """
    try:
        return number.outbound(text, rules(country_code))
    except MalformedNumber as error:
        raise UsageError(f"{option}: {error}") from error

"""The numbers that our own records name: those configured, as far as a credential covers them.

Takes a ``NumberSet`` and a ``TnAuthList``, gives numbers and ranges as records write them
("12125551234", "12125551200-12125551299"). By arithmetic; no range is ever enumerated.
"""

from __future__ import annotations

from collections.abc import Iterator

from pbx_stir.stir.digits import joined
from pbx_stir.stir.number_set import NumberSet
from pbx_stir.stir.tnauthlist import TnAuthList

Span = tuple[int, int, int]


def nameable(numbers: NumberSet, covered: TnAuthList) -> tuple[str, ...]:
    """The numbers of ``numbers`` that a record signed for ``covered`` may name, in order.

    A list of SPCs alone covers what its verifiers' tables say: then these are the singles and
    ranges of ``numbers``. A prefix names numbers of no certain length, so it counts only where
    ``covered`` has ranges.
    """
    configured = [
        (digits, first, last) for digits, spans in numbers.ranges.items() for first, last in spans
    ]
    if covered.has_numbers:
        listed = list(_listed(covered))
        prefixed = [span for prefix in numbers.prefixes for span in _of_prefix(prefix, listed)]
        configured = [both for one in configured for both in _common(one, listed)] + prefixed
    union = joined(configured)
    return tuple(
        _written(digits, first, last) for digits in sorted(union) for first, last in union[digits]
    )


def first_number(named: str) -> str:
    """The number with which a range of a record begins."""
    return named.partition("-")[0]


def _listed(covered: TnAuthList) -> Iterator[Span]:
    """Digit count, first and last of every entry that is made of digits."""
    for number in covered.numbers:
        if number.isdigit():
            yield len(number), int(number), int(number)
    for start, count in covered.ranges:
        yield len(start), int(start), min(int(start) + count, 10 ** len(start)) - 1


def _of_prefix(prefix: str, listed: list[Span]) -> Iterator[Span]:
    """What of ``listed`` begins with the prefix."""
    for digits in {digits for digits, _, _ in listed}:
        if digits < len(prefix):
            continue
        width = 10 ** (digits - len(prefix))
        yield from _common((digits, int(prefix) * width, (int(prefix) + 1) * width - 1), listed)


def _common(span: Span, listed: list[Span]) -> Iterator[Span]:
    digits, first, last = span
    for other_digits, other_first, other_last in listed:
        low, high = max(first, other_first), min(last, other_last)
        if digits == other_digits and low <= high:
            yield digits, low, high


def _written(digits: int, first: int, last: int) -> str:
    text = f"{first:0{digits}d}"
    return text if first == last else f"{text}-{last:0{digits}d}"

"""Whether the dialplan and the configuration mean the same numbers by emergency.

The dialplan decides which calls are never held, the configuration which are never signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pbx_stir.checks.finding import Finding, error, warning
from pbx_stir.checks.places import place
from pbx_stir.config import Loaded
from pbx_stir.stir.number import DEFAULT_EMERGENCY

# what both dialplans take where nothing is set
DEFAULT: Final = "911|933|112|999|000"
_LONGEST: Final = 500
_PLAIN: Final = re.compile(r"[0-9]{1,15}(?:\|[0-9]{1,15})*", re.ASCII)


def compare_emergency(loaded: Loaded, variable: str, said: str, where: str) -> Iterator[Finding]:
    """Give where ``numbers.emergency`` and a PBX's ``variable``, which says ``said``, disagree.

    ``said`` is a regular expression, empty where it is not set.
    """
    expression = said or DEFAULT
    configured = loaded.values.numbers.emergency
    key = place(loaded, "numbers.emergency")
    # without a list of ours the service's own is that of the whole world
    listed = DEFAULT_EMERGENCY if configured is None else frozenset(configured)
    held = [one for one in configured or () if not _is_like(one, expression)]
    if held:
        named = "|".join(sorted({*held, *expression.split("|")} - {""}))
        yield error(
            "emergency-held",
            f"{', '.join(held)[:80]} would be held: {variable} has not what {key} has",
            where,
            f"{variable} = {named[:100]} in the PBX's dialplan",
        )
    if not _PLAIN.fullmatch(expression):
        return
    others = sorted(set(expression.split("|")) - listed)
    if others:
        yield warning(
            "emergency-signed",
            f"{', '.join(others)[:80]} of {variable} is not in numbers.emergency",
            where,
            f"add it to {key}",
        )


def _is_like(digits: str, expression: str) -> bool:
    """Whether the dialplan takes ``digits`` for an emergency number; a riddle counts as yes."""
    if _PLAIN.fullmatch(expression):
        return digits in expression.split("|")
    if len(expression) > _LONGEST:
        return True
    try:
        return re.fullmatch(expression, digits) is not None
    except (re.error, RecursionError):
        return True

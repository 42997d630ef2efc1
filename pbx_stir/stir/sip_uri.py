"""SIP URIs that name a person, not a telephone number, as ``orig`` and ``dest`` may hold them.

Source: RFC 8225 section 5.2.2, RFC 3261 section 19.1.4 (comparison of URIs).
"""

from __future__ import annotations

import re
from typing import Final

from pbx_stir.errors import MalformedNumber
from pbx_stir.stir.number import NumberRules, candidates

_MAX_TEXT: Final = 1_024
_URI: Final = re.compile(
    r"(sips?):([A-Za-z0-9._!~*'()&=+$,;?/%-]{1,200})@([A-Za-z0-9.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(:[0-9]{1,5})?(?:;[!-~]*)?",
    re.IGNORECASE,
)


def sip_uri(text: str) -> str:
    """Give the SIP URI in ``text`` in a form that can be compared; empty where it is none.

    Scheme and host are in lower case and parameters are dropped; the user part stays as it is. A
    URI that stands for a telephone number is none here: it is compared as a number.
    """
    match = _URI.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        return ""
    scheme, user, host, port = match.groups("")
    person = user.partition(";")[0]
    if not person:
        return ""
    found = f"{scheme.lower()}:{person}@{host.lower()}{port}"
    # the second: one of a number whose parameters cannot be read is no person's either
    return "" if _is_number(text) or _is_number(found) else found


def _is_number(text: str) -> bool:
    try:
        candidates(text, NumberRules())
    except MalformedNumber:
        return False
    return True

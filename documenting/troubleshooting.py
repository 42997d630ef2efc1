"""The part of docs/troubleshooting.md that explains each reason word, from ``pbx_stir.reasons``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

from documenting import configuration
from pbx_stir.reasons import EITHER, INBOUND, OUTBOUND, Explanation
from pbx_stir.services.call import Reason

_WHOLE: Final = sorted(configuration.keys(), reverse=True)
_LAST: Final = sorted({key.split(".")[-1] for key in _WHOLE}, reverse=True)
_KEYS: Final = "|".join(map(re.escape, [*_WHOLE, *(key for key in _LAST if "_" in key)]))
# tables, keys with and without their section, a key with its value, variables of the dialplan
CODE: Final = re.compile(rf"\[\[\w+\]\]|\[publish\]|\w+ = \"\w+\"|\b(?:{_KEYS})\b(?!\.md)|STIR_\w+")
HEADS: Final = (("Inbound calls", INBOUND), ("Outbound calls", OUTBOUND), ("Both", EITHER))


def written() -> str:
    """A heading a word, by direction, in the order of the tables."""
    return "\n".join(line for head, table in HEADS for line in _part(head, table))


def _part(head: str, table: Mapping[Reason, Explanation]) -> Iterator[str]:
    yield f"## {head}\n"
    for reason, told in table.items():
        # two headings of one name would have one anchor
        again = " (outbound)" if table is OUTBOUND and reason in INBOUND else ""
        yield f"### `{reason.value}`{again}\n"
        yield f"{_wrapped(told.meaning)}\n"
        if told.causes:
            yield "Likely causes:\n"
            yield "\n".join(_wrapped(f"* {cause}", "  ") for cause in told.causes) + "\n"
        yield f"{_wrapped(f'**What to do:** {told.remedy}')}\n"
        if told.commands:
            commands = ", ".join(f"`{one}`" for one in told.commands)
            yield f"**More:** {commands}\n"


def _wrapped(text: str, later: str = "") -> str:
    """Text in lines, with keys, tables and variables as code, and names of pages as links."""
    parts = text.replace("docs/security.md", "[security.md](security.md)").split("`")
    parts[::2] = [CODE.sub(r"`\g<0>`", one) for one in parts[::2]]
    return textwrap.fill(
        "`".join(parts),
        110,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )

"""The part of docs/troubleshooting.md that explains each reason word, from ``pbx_stir.reasons``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pbx_stir.reasons import EITHER, INBOUND, OUTBOUND, Explanation
from pbx_stir.services.call import Reason

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
        yield f"{_linked(told.meaning)}\n"
        if told.causes:
            yield "Likely causes:\n"
            yield "\n".join(f"* {_linked(cause)}" for cause in told.causes) + "\n"
        yield f"**What to do:** {_linked(told.remedy)}\n"
        if told.commands:
            commands = ", ".join(f"`{one}`" for one in told.commands)
            yield f"**More:** {commands}\n"


def _linked(text: str) -> str:
    """Names of pages as links from docs/, keys and tables as code."""
    return text.replace("docs/security.md", "[security.md](security.md)")

"""What the two services know of the PBX's trunks and of who may call through them.

Frozen values that configuration makes. A trunk has rules for how its numbers are written, the
numbers that it may present, and the canonical numbers behind what it calls a DID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pbx_stir.stir.number import NumberRules, NumberSet


@dataclass(frozen=True, slots=True)
class Trunk:
    """One trunk.

    ``presents`` is the one canonical number that it shows whatever the call's own caller ID is,
    empty where it shows that. ``numbers`` are those that its calls may claim. ``attest`` lowers a
    shaken PASSporT's attestation, "A" does not. ``aliases`` maps a DID as the PBX knows it to one
    to four canonical numbers. ``wait_for_passport_ms`` is how long a call that came in waits for a
    PASSporT that is stored after it.
    """

    name: str
    rules: NumberRules = field(default_factory=NumberRules)
    numbers: NumberSet = field(default_factory=NumberSet)
    presents: str = ""
    attest: str = "A"
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wait_for_passport_ms: int = 0


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may claim which number on which trunk.

    ``originators`` maps the name of an endpoint or account to the numbers that it may claim; who
    is not in it may claim those of the trunk that the call leaves by.
    """

    trunks: Mapping[str, Trunk]
    originators: Mapping[str, NumberSet] = field(default_factory=dict)

    def may_claim(self, names: Sequence[str], trunk: Trunk, orig: str) -> bool:
        """Whether the originator with these ``names`` may call as ``orig`` (RFC 8816 section 8.1).

        The first name that has numbers of its own decides.
        """
        for name in names:
            allowed = self.originators.get(name)
            if allowed is not None:
                return orig in allowed
        return orig in trunk.numbers

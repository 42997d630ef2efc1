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
    PASSporT that is stored after it. ``in_band``: it is SIP, and calls that leave by it carry their
    PASSporTs in Identity headers too. ``endpoints`` are the PBX's names for what its calls come
    from, alone or with the technology, ``PJSIP/carrier``; None: the trunk's own name, and whatever
    its inbound hooks are heard from.
    """

    name: str
    rules: NumberRules = field(default_factory=NumberRules)
    numbers: NumberSet = field(default_factory=NumberSet)
    presents: str = ""
    attest: str = "A"
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wait_for_passport_ms: int = 0
    in_band: bool = False
    endpoints: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What our PASSporTs say of a caller: his name, why he calls; empty: nothing (RFC 9795)."""

    name: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may claim which number on which trunk, and what is said of him.

    ``originators`` maps the name of an endpoint or account to the numbers that it may claim; who
    is not in it may claim those of the trunk that the call leaves by. ``named`` maps such a name to
    what is said of it, ``numbered`` pairs caller IDs with what is said of who has them.
    """

    trunks: Mapping[str, Trunk]
    originators: Mapping[str, NumberSet] = field(default_factory=dict)
    named: Mapping[str, Shown] = field(default_factory=dict)
    numbered: Sequence[tuple[NumberSet, Shown]] = ()

    def shown(self, names: Sequence[str], orig: str) -> Shown:
        """What is said of the originator with these ``names`` who calls as ``orig``.

        The originator's own comes before that of the number.
        """
        found = [self.named[name] for name in names if name in self.named]
        found += [shown for numbers, shown in self.numbered if orig in numbers]
        return Shown(
            next((one.name for one in found if one.name), ""),
            next((one.reason for one in found if one.reason), ""),
        )

    def may_claim(self, names: Sequence[str], trunk: Trunk, orig: str) -> bool:
        """Whether the originator with these ``names`` may call as ``orig`` (RFC 8816 section 8.1).

        The first name that has numbers of its own decides.
        """
        for name in names:
            allowed = self.originators.get(name)
            if allowed is not None:
                return orig in allowed
        return orig in trunk.numbers

"""What a service provider code is taken as authority for: the administrator's policy.

Takes codes and canonical numbers, gives yes or no by arithmetic. A code names a provider and says
nothing by itself about numbers (RFC 8226 section 9, RFC 8588): a PASSporT of any provider may be
accepted, but for anything else only a configured table says which numbers are whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SpcPolicy:
    """``accept``: a PASSporT signed by whatever provider is accepted.

    ``table``: canonical number prefixes (digits) to the codes of the providers who have the numbers
    below them. The longest prefix of a number decides alone, as in routing. Raises ``ValueError``
    for a prefix that is not digits.
    """

    accept: bool = True
    table: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for prefix in self.table:
            if not (prefix.isascii() and prefix.isdigit()):
                raise ValueError(f"not a number prefix: {prefix!r}")

    def accepts(self, spcs: Sequence[str], number: str) -> bool:
        """Tell whether one of the codes may sign a PASSporT from ``number``."""
        return self.accept or self.authorises(spcs, number, number)

    def authorises(self, spcs: Sequence[str], first: str, last: str) -> bool:
        """Tell whether the table gives all numbers from ``first`` to ``last`` to these codes.

        Both are canonical and have as many digits as each other.
        """
        return all(not self.owners(number).isdisjoint(spcs) for number in self._steps(first, last))

    def _steps(self, first: str, last: str) -> set[str]:
        """Give one number of each stretch in which no prefix begins or ends: its first."""
        digits = len(first)
        steps = {first}
        if first == last:
            return steps
        for prefix in self.table:
            if len(prefix) > digits:
                continue
            start = prefix.ljust(digits, "0")
            after = str(int(prefix) + 1).zfill(len(prefix))
            steps |= {start} if first <= start <= last else set()
            if len(after) == len(prefix) and first <= (end := after.ljust(digits, "0")) <= last:
                steps.add(end)
        return steps

    def owners(self, number: str) -> frozenset[str]:
        """Give the codes that the table has for a number: those of its longest prefix."""
        for length in range(len(number), 0, -1):
            owners = self.table.get(number[:length])
            if owners is not None:
                return owners
        return frozenset()

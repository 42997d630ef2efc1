"""What the administrator asked for, checked: the arguments of ``pbx-stir install`` as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pbx_stir.errors import MalformedNumber, UsageError
from pbx_stir.stir.number_set import NumberSet

# RFC 6761 section 6.4: no such host. Sealed PASSporTs have their certificates with them
X5U_NOWHERE = "https://x5u.invalid/company.pem"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to install; everything may be left out.

    ``etc`` and ``scripts`` are the PBX's folders as the machine names them, empty for the usual
    ones. ``wrapped`` are (context, trunk): what calls come in by. What is from ``numbers`` to
    ``with_cps`` goes into a starting configuration.
    """

    etc: str = ""
    scripts: str = ""
    trunks: tuple[str, ...] = ()
    wrapped: tuple[tuple[str, str], ...] = ()
    cdr: bool = False
    cel: bool = False
    freepbx: bool = False
    test_call: bool = False
    numbers: tuple[str, ...] = ()
    country_code: str = ""
    certificate: Path | None = None
    key: Path | None = None
    x5u: str = X5U_NOWHERE
    trust: tuple[Path, ...] = ()
    with_cps: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError."""
        for trunk in self.trunks:
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", trunk):
                raise UsageError(
                    f"{trunk!r} is no name of a trunk", hint="letters, digits, _ . and -"
                )
        for context, trunk in self.wrapped:
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,70}", context):
                raise UsageError(f"{context!r} is no name of a context")
            if trunk not in self.trunks:
                raise UsageError(f"no trunk {trunk!r}", hint=f"--trunk {trunk} names it")
        if (self.certificate is None) != (self.key is None):
            raise UsageError("--certificate and --key go together")
        if not re.fullmatch(r"[0-9]{0,3}", self.country_code):
            raise UsageError(f"{self.country_code!r} is no country code", hint="digits, such as 44")
        if not re.fullmatch(r"https://[!-~]{1,2000}", self.x5u) or '"' in self.x5u:
            raise UsageError("--x5u is no https URL")
        try:
            NumberSet.parse(list(self.numbers))
        except MalformedNumber as error:
            raise UsageError(f"--numbers: {error.message}", hint=error.hint) from error
        if self.test_call and not self.trunks:
            raise UsageError("--test-call needs a --trunk")
        if self.test_call and not self.first_numbers():
            raise UsageError("--test-call needs --numbers: two of them call each other")

    def first_numbers(self) -> tuple[str, str] | None:
        """Two of the numbers, as digits; None where fewer are named."""
        listed = NumberSet.parse(list(self.numbers))
        found = [
            f"{number:0{digits}d}"
            for digits, row in sorted(listed.ranges.items())
            for first, last in row
            for number in range(first, min(last, first + 1) + 1)
        ]
        return (found[0], found[1]) if len(found) > 1 else None

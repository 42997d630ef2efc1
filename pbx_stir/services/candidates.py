"""What PASSporTs found together may mean, before any of them is judged.

Takes the PASSporTs of one set: the Identity headers that a call carried, or what one answer of a
CPS opened to. Gives candidates: each by itself, and each chain that diversions form (RFC 8946).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pbx_stir.errors import BrokenDiversion, MalformedPassport
from pbx_stir.services.call import Reason, Rejection
from pbx_stir.stir import diversion
from pbx_stir.stir.diversion import Diverted
from pbx_stir.stir.number import MAX_DIGITS
from pbx_stir.stir.passport import Passport

# so many of a set may take part in chains; the work to try them grows with each
MOST_IN_CHAINS: Final = 8


@dataclass(frozen=True, slots=True)
class Numbers:
    """The canonical numbers of a call: what its caller ID and its called number may mean.

    ``called_uri`` is what was called where that is a URI without a number; ``called`` is then
    empty. ``max_digits`` is the length of the longest number that the trunk knows.
    """

    calling: tuple[str, ...]
    called: tuple[str, ...]
    called_uri: str = ""
    max_digits: int = MAX_DIGITS

    @property
    def shown(self) -> tuple[str, str]:
        """The one calling and called number that people and PBXs are shown."""
        return self.calling[0], self.called[0] if self.called else ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A PASSporT that may be this call's, with the DER certificates that came along.

    ``in_band``: the call itself carried it. ``diverted``: the chain that ends with ``passport``,
    where the call was passed on.
    """

    passport: Passport
    chain: tuple[bytes, ...]
    in_band: bool
    diverted: Diverted | None = None

    @property
    def original(self) -> Passport:
        """The caller's own PASSporT."""
        return self.diverted.original if self.diverted else self.passport

    def made_with(self, other: Candidate) -> bool:
        """Whether ``other`` says the same of the same call, and was made at the same moment."""
        mine, its = self.passport, other.passport
        return (mine.orig, mine.dest, mine.iat) == (its.orig, its.dest, its.iat)

    @property
    def all(self) -> tuple[Passport, ...]:
        """Every PASSporT of it, the caller's own first."""
        return self.diverted.all if self.diverted else (self.passport,)


Found = tuple[Passport, tuple[bytes, ...]]


def of_set(
    found: Sequence[Found], *, in_band: bool, max_digits: int
) -> tuple[list[Candidate], list[Rejection]]:
    """Give the candidates of one set, and why some of it can be none."""
    candidates: list[Candidate] = []
    rejections: list[Rejection] = []
    divs: list[Found] = []
    for token, chain in found:
        if token.ppt == diversion.DIV:
            divs.append((token, chain))
        elif token.ppt == diversion.DIV_O:
            try:
                diverted = diversion.unwrap(token, max_digits=max_digits)
            except BrokenDiversion as error:
                rejections.append(Rejection("diversion", Reason.BROKEN_DIVERSION, error.message))
            except MalformedPassport as error:
                rejections.append(Rejection("parse", Reason.MALFORMED, error.message))
            else:
                candidates.append(Candidate(token, chain, in_band, diverted))
        else:
            candidates.append(Candidate(token, chain, in_band))
    if divs:
        originals = [one for one in found if one[0].ppt not in {diversion.DIV, diversion.DIV_O}]
        chained = list(_chained(originals, divs, in_band, max_digits))
        candidates += chained
        placed = {token for one in chained for token in one.all}
        rejections += [
            Rejection("diversion", Reason.BROKEN_DIVERSION, "follows no other PASSporT")
            for token, _ in divs
            if token not in placed
        ]
    return candidates, rejections


def _chained(
    originals: Sequence[Found], divs: Sequence[Found], in_band: bool, max_digits: int
) -> Iterable[Candidate]:
    originals, divs = originals[:MOST_IN_CHAINS], divs[:MOST_IN_CHAINS]
    inside = dict([*originals, *divs])
    chains = diversion.chains(
        [token for token, _ in originals], [token for token, _ in divs], max_digits=max_digits
    )
    for one in chains:
        yield Candidate(one.all[-1], _certificates(one, inside), in_band, one)


def _certificates(
    diverted: Diverted, inside: dict[Passport, tuple[bytes, ...]]
) -> tuple[bytes, ...]:
    """The certificates that came with any of the chain's PASSporTs, each once."""
    return tuple(dict.fromkeys(der for token in diverted.all for der in inside[token]))

"""How PASSporTs are got, and cover: what ``[publish] retrieve`` and ``[cover]`` say.

Takes a ``config.Loaded`` and what ``configured`` has made of it; names file and key of what is
wrong. Connects to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from pbx_stir import configured
from pbx_stir.config import Loaded
from pbx_stir.cps.cover import CoverPlan
from pbx_stir.cps.feeds import wanted_of
from pbx_stir.cps.holder import Holder
from pbx_stir.cps.subscription import Wanted
from pbx_stir.directory.publisher import Publication
from pbx_stir.stir.credential import Credential

_SECONDS_OF_AN_HOUR = 3600


def holder(loaded: Loaded, credentials: Sequence[Credential]) -> Holder | None:
    """Who signs retrievals, and at which CPSs; None where nobody does."""
    section = loaded.values.publish
    return None if section.retrieve == "open" else Holder(credentials, section.cps)


def subscriptions(loaded: Loaded, published: Sequence[Publication]) -> tuple[Wanted, ...]:
    """What is subscribed to: at each CPS, all numbers of ours that a credential covers."""
    if loaded.values.publish.retrieve != "subscribed":
        return ()
    if not published:
        hint = "publish.numbers and publish.cps say which numbers, and where"
        raise loaded.wrong("publish.retrieve", "there is nothing to subscribe to", hint)
    # a publication has no more numbers than a record names
    named: dict[int, tuple[Publication, list[str]]] = {}
    for one in published:
        named.setdefault(id(one.credential), (one, []))[1].extend(one.named)
    return tuple(
        wanted
        for first, numbers in named.values()
        for wanted in wanted_of(first.credential, numbers, first.cps)
    )


def cover(loaded: Loaded) -> CoverPlan:
    """How much cover there is."""
    section = loaded.values.cover
    own = configured.number_set(loaded, "publish.numbers", loaded.values.publish.numbers)
    others = configured.number_set(loaded, "cover.numbers", section.numbers)
    hint = 'numbers or ranges that you might call, such as "+16465550100-+16465550199"'
    if others.prefixes:
        raise loaded.wrong("cover.numbers", "a prefix does not say how long its numbers are", hint)
    if section.stores_per_hour and not others:
        raise loaded.wrong("cover.numbers", "there is no number to store dummies for", hint)
    if section.retrievals_per_hour and not (others or own.ranges):
        raise loaded.wrong("cover.numbers", "there is no number to retrieve for", hint)
    return CoverPlan(
        stores=section.stores_per_hour / _SECONDS_OF_AN_HOUR,
        retrievals=section.retrievals_per_hour / _SECONDS_OF_AN_HOUR,
        own=own,
        others=others,
    )

"""Whose channels are a trunk's: what such a channel does is a stranger's call, mark or no mark.

A call's mark (``Call.came_in``) is set by its inbound hook. A channel that never met the hook has
none: one that took another's place (Replaces, RFC 3891), and one that a user of ours has called and
then transfers. It has the name of the trunk's endpoint all the same. Takes calls that came in and
the configured trunks; says of a call that leaves by which trunk it came in after all.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from pbx_stir.services.call import Call
from pbx_stir.services.trunk import Callers

MOST_OF_A_PBX: Final = 1000


class Outside:
    """Remembers from which endpoints of each PBX calls came in; of one process, without an end.

    An endpoint is TECHNOLOGY/NAME, as in ``Call.placed_by``. The one that was heard of longest ago
    goes first.
    """

    def __init__(self, most: int = MOST_OF_A_PBX) -> None:
        """``most`` are remembered of each PBX."""
        self._most = most
        self._trunks: dict[str, OrderedDict[str, str]] = {}

    def remember(self, call: Call) -> None:
        """An inbound hook has announced ``call``: what placed it is a trunk's."""
        if not call.placed_by:
            return
        of_pbx = self._trunks.setdefault(call.pbx, OrderedDict())
        of_pbx[call.placed_by] = call.trunk
        of_pbx.move_to_end(call.placed_by)
        while len(of_pbx) > self._most:
            of_pbx.popitem(last=False)

    def trunk_of(self, call: Call, callers: Callers) -> str:
        """The trunk whose endpoint has placed ``call``, which leaves; empty where it is no trunk's.

        Where a trunk's configuration names its endpoints, only those are. What else its calls came
        from is, too, where it names none, unless it is configured as somebody's who may call.
        """
        if not call.placed_by:
            return ""
        _, _, name = call.placed_by.partition("/")
        for trunk in callers.trunks.values():
            own = (trunk.name,) if trunk.endpoints is None else trunk.endpoints
            if name in own or call.placed_by in own:
                return trunk.name
        of_pbx = self._trunks.get(call.pbx)
        heard = of_pbx.get(call.placed_by, "") if of_pbx else ""
        configured = callers.trunks.get(heard)
        if configured is not None and configured.endpoints is not None:
            return ""
        return "" if name in callers.originators else heard

"""What the supply of storage tokens knows of one CPS, and when it sees to it next.

Pure but for what it remembers: moments, of the monotonic clock, and pauses come in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from pbx_stir.tokens.epochs import KeyList
from pbx_stir.tokens.pace import Pace

# From the beginning of a visit to the next one's at least: a CPS takes ten requests a second of one
# address, which may be several senders', and signs some thousand tokens a second for all.
SHORTEST_SECONDS: Final = 0.2


@dataclass(slots=True)
class Account:
    """One CPS. Times are of the monotonic clock, but for ``fill_at``.

    ``needs``: whether stores need a token, None where that is not known yet. ``dry``: nothing more
    is on the disk to bring into memory, where ``on_disk`` were when it was last looked at.
    ``fill_at``: when tokens of an epoch ahead are obtained. ``used_up``: epochs of which the CPS
    gives us no more. ``failures`` are those in a row; ``slowed`` how often in a row it was only
    asked too soon. ``pause``: the calm pause that was drawn for now, which began at ``since`` and
    may be cut short, or None. It is ``visiting`` since ``visited``.
    """

    cps: str
    due: float
    list_due: float = 0.0
    needs: bool | None = None
    keys: KeyList | None = None
    looks: int = 0
    filling: bool = False
    dry: bool = False
    on_disk: int = 0
    failures: int = 0
    slowed: int = 0
    signer: int = 0
    fill_at: dict[int, float] = field(default_factory=dict)
    used_up: set[int] = field(default_factory=set)
    pace: Pace = field(default_factory=Pace)
    visiting: bool = False
    visited: float = -math.inf
    since: float = 0.0
    pause: float | None = None
    hurried: bool = False

    def visit(self, at: float) -> None:
        """Begin to see to it."""
        self.visiting, self.visited, self.pause = True, at, None

    def wait(self, seconds: float, at: float) -> None:
        """See to it after so long, whatever calls take meanwhile."""
        self.due, self.pause = at + seconds, None

    def rest(self, seconds: float, share: float, at: float, *, hurried: bool) -> None:
        """See to it after ``share`` of a calm pause; that may be cut shorter by ``hurry``."""
        self.since, self.pause, self.hurried = at, seconds, hurried
        self.due = self._after(share)

    def hurry(self, share: float) -> bool:
        """Let no more than ``share`` of the pause pass; whether that makes it due sooner."""
        if self.pause is None:
            return False
        before, self.due = self.due, min(self.due, self._after(share))
        return self.due < before

    def _after(self, share: float) -> float:
        """When that share of the pause has passed."""
        return max(self.since + (self.pause or 0.0) * share, self.visited + SHORTEST_SECONDS)

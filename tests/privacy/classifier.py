"""The test: can a classifier tell a real entry from a dummy, each judged by itself?"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from tests.privacy.features import Features
from tests.privacy.watching import Seen, Watch

_FOLDS = 5
_95_PERCENT = 1.96


@dataclass(frozen=True)
class Verdict:
    """How often it was right on entries it had not seen, with a 95 % confidence interval."""

    accuracy: float
    low: float
    high: float
    entries: int

    def __str__(self) -> str:
        """In percent."""
        return (
            f"{self.accuracy:.2%} of {self.entries} entries"
            f" (95 % confidence: {self.low:.2%} to {self.high:.2%})"
        )


@dataclass
class Gathered:
    """Rows of features, what each was, and under which number."""

    rows: list[np.ndarray] = field(default_factory=list)
    real: list[bool] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    _features: Features = field(default_factory=Features)

    def add(self, seen: Seen) -> None:
        """Take one entry."""
        self.rows.append(self._features.row(seen))
        self.real.append(seen.real)
        self.numbers.append(int(seen.number))


def gather(polls: int, seed: int = 1) -> Gathered:
    """Watch so many polls, in an event loop as a CPS has it."""
    gathered = Gathered()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Watch(polls, seed, gathered.add).run())
    return gathered


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def judge(gathered: Gathered, seed: int = 1) -> Verdict:
    """Train on four fifths of the numbers and judge the entries of the others, five times.

    As many real entries as dummies, so that guessing is right in one half.
    """
    rows, real = np.array(gathered.rows), np.array(gathered.real)
    numbers = np.array(gathered.numbers)
    draw = np.random.default_rng(seed)
    fewer = min(real.sum(), (~real).sum())
    chosen = np.concatenate(
        [draw.permutation(np.flatnonzero(real == one))[:fewer] for one in (True, False)]
    )
    rows, real, numbers = rows[chosen], real[chosen], numbers[chosen]
    right = 0
    for train, test in GroupKFold(_FOLDS).split(rows, real, numbers):
        model = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=seed
        )
        # More threads wait for each other in busy loops, on a machine that others use too.
        with threadpool_limits(1):
            model.fit(rows[train], real[train])
        right += int((model.predict(rows[test]) == real[test]).sum())
    accuracy = right / len(real)
    margin = _95_PERCENT * math.sqrt(accuracy * (1 - accuracy) / len(real))
    return Verdict(accuracy, accuracy - margin, accuracy + margin, len(real))

"""What counts and arrivals tell a watcher of a number, as a function of the cover stored for it.

A CPS's own dummies hide nothing from who counts: exactly one arrives in each period of 2/5 of a
lifetime, in a half of it that is the number's own. Who has polled a number for long enough knows
that half, takes one arrival away in each period, and what is left is calls and cover. Cover stores
(RFC 8816 section 7.4) come at random with a mean ``rate`` a second and number, and so do, for who
asks about one call, the other calls to the number. In a window of w seconds the watcher is left
with n arrivals: n is Poisson(m) with m = rate * w where the call was not placed, 1 + Poisson(m)
where it was.

The likelihood ratio of n is n / m. The best test's advantage (how much more often it says "placed"
when the call was than when it was not) is the distance between the two distributions, which for
one that rises and then falls is its greatest probability.

``python -m tests.privacy.counts`` prints the table of docs/privacy.md.
"""

from __future__ import annotations

import math


def poisson(mean: float, count: int) -> float:
    """The probability of a count."""
    if count < 0:
        return 0.0
    if mean == 0:
        return float(count == 0)
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))


def advantage_watching(mean: float) -> float:
    """The best test's advantage for who watches all the time; ``mean`` arrivals of cover."""
    return poisson(mean, math.floor(mean))


def advantage_of_a_look(mean: float) -> float:
    """The same for who looks once, and cannot tell whether two or three are the CPS's dummies.

    ``mean`` is the cover alive at a moment: rate times lifetime.
    """
    at = math.floor(mean)
    return max((poisson(mean, n) + poisson(mean, n - 1)) / 2 for n in range(at, at + 3))


def posterior(prior: float, mean: float, count: int) -> float:
    """How likely it is that the call was placed, where ``count`` arrivals were left."""
    placed = prior * poisson(mean, count - 1)
    not_placed = (1 - prior) * poisson(mean, count)
    return placed / (placed + not_placed)


def table() -> str:
    """Advantages and posteriors by cover, as Markdown."""
    lines = [
        "| cover | advantage, watching | 1 in 100 becomes | advantage, one look |",
        "|---|---|---|---|",
    ]
    for mean in (0.0, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0):
        # the count that a call leaves behind most often
        count = math.floor(mean) + 1
        lines.append(
            f"| {mean:g} | {advantage_watching(mean):.3f} | {posterior(0.01, mean, count):.3f}"
            f" | {advantage_of_a_look(mean):.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())

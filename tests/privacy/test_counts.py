"""What counts and arrivals tell is as much as docs/privacy.md says, by simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pbx_stir.cps.dummies import Dummies
from tests.privacy import counts

LIFETIME = 30
PERIOD = 12.0
SAMPLES = 40_000
PRIVACY = Path(__file__).resolve().parents[2] / "docs/privacy.md"


def arrivals(number: str, seconds: int) -> list[float]:
    """When a number's dummies arrive, as a watcher sees it who polls without end."""
    dummies = Dummies(LIFETIME, epoch_seconds=10**9)
    seen = {
        each.id: each.arrival
        for now in range(1000, 1000 + seconds, 20)
        for each in dummies.entries(number, now)
    }
    return sorted(seen.values())


def test_one_dummy_arrives_in_each_period_in_its_first_half() -> None:
    """Who knows the phase knows of an arrival in the other half that it is no dummy of the CPS."""
    found = np.array(arrivals("12125551234", 60_000))
    # of 5,000 arrivals in six of twelve seconds the first is at the beginning
    angles = np.sort(found % PERIOD)
    gaps = np.diff(np.append(angles, angles[0] + PERIOD))
    assert gaps.max() == pytest.approx(PERIOD / 2, abs=0.1)
    phase = angles[(int(gaps.argmax()) + 1) % len(angles)] - 1e-6
    slots = np.floor((found - phase) / PERIOD)
    assert (np.diff(slots) == 1).all()


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0, 2.5, 10.0, 30.0])
def test_the_advantage_of_who_watches_all_the_time(mean: float) -> None:
    """The best test is right as much more often as the formula says."""
    draw = np.random.default_rng(1)
    without = draw.poisson(mean, SAMPLES)
    placed = draw.poisson(mean, SAMPLES) + 1
    # the likelihood ratio n / m is above one
    found = (placed > mean).mean() - (without > mean).mean()
    assert found == pytest.approx(counts.advantage_watching(mean), abs=0.015)


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0, 2.5, 10.0])
def test_the_advantage_of_one_look(mean: float) -> None:
    """Two or three dummies are alive, as often the one as the other: that hides a little by itself.

    The watcher says "placed" at the counts that are likelier then.
    """
    draw = np.random.default_rng(2)
    dummies = Dummies(LIFETIME, epoch_seconds=10**9)
    alive = [
        len(dummies.entries(f"1{draw.integers(10**9)}", draw.uniform(1e3, 1e6)))
        for _ in range(SAMPLES // 10)
    ]
    alive = np.tile(alive, 10)
    without = alive + draw.poisson(mean, SAMPLES)
    placed = alive + draw.poisson(mean, SAMPLES) + 1
    most = int(max(placed.max(), without.max())) + 1
    histograms = [np.bincount(each, minlength=most) / SAMPLES for each in (without, placed)]
    found = np.abs(histograms[0] - histograms[1]).sum() / 2
    assert found == pytest.approx(counts.advantage_of_a_look(mean), abs=0.03)


def test_the_posterior_is_what_is_true_as_often() -> None:
    """Of all windows in which so many arrivals were left, a call was placed in that share."""
    draw = np.random.default_rng(3)
    prior, mean = 0.2, 2.5
    placed = draw.random(10 * SAMPLES) < prior
    left = draw.poisson(mean, len(placed)) + placed
    for count in range(6):
        share = placed[left == count].mean()
        assert share == pytest.approx(counts.posterior(prior, mean, count), abs=0.01)


def test_the_table_of_the_documentation_is_this_one() -> None:
    """docs/privacy.md has what is computed here."""
    assert counts.table() in PRIVACY.read_text()

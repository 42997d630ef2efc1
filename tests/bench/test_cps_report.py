"""What was measured of a CPS is printed whole."""

from __future__ import annotations

import msgspec

from bench.cps_report import Peer, Report, Row, Sizes, render
from bench.latency import Latency
from bench.machine import Interference, Machine

MACHINE = Machine("CPU", 2, "Linux 6", "3.11", "OpenSSL 3", {"aiohttp": "3"}, (0.1, 0.2, 0.3))
LATENCY = Latency.of([0.001, 0.002, 0.003])


def report(*rows: Row) -> Report:
    """A report with these rows."""
    return Report(
        command="python -m bench cps",
        machine=MACHINE,
        interference=Interference(0.1, 0.0),
        rounds=3,
        rows=rows,
        peer=Peer("1.22", (30_000, 31_000), (20_000, 21_000)),
        sizes=Sizes(100_000, 60.0, 650.0, 20.0, 1_000_000, 70.0, 71.0, 1_000, LATENCY),
    )


def test_a_row_is_the_median_of_its_rounds() -> None:
    """Whether it is enough is judged by the server's own processor time."""
    row = Row.of("fetch", [3900, 4100, 100], [4000, 4200, 4300], LATENCY, 4_100)
    assert (row.a_second, row.a_processor_second, row.met) == (3900, 4200, True)
    assert Row.of("fetch", [1], [2], LATENCY, 3).met is False
    assert Row.of("fetch", [1], [2], LATENCY, None).met is None


def test_all_is_printed() -> None:
    """Command, machine, peer, medians, p99, ratios, targets, and what could not be measured."""
    rows = [
        Row.of("fetch seen, plain", [9_000], [10_000], LATENCY, 8_000),
        Row.of("fetch seen, Redis", [6_000], [7_000], LATENCY, None),
        Row.of("fetch seen, Redis, 1 worker on all cores", [6_000], [7_000], LATENCY, None),
        Row.of("fetch seen, Redis, 2 workers on all cores", [9_000], [7_000], LATENCY, None),
        Row("store, Redis", unavailable="no redis-server"),
    ]
    text = render(report(*rows))
    for said in (
        "python -m bench cps",
        "30000 a second plain",
        "fetch seen, plain",
        "no redis-server",
        "fetch seen: Redis over memory",
        "0.70",
        "1.50",
        "650.0 MB",
        "1000000 GETs",
        "3.00",
    ):
        assert said in text


def test_figures_that_are_missing_are_said() -> None:
    """The others are printed all the same."""
    rows = (Row.of("fetch seen, plain", [9_000], [10_000], LATENCY, 8_000),)
    text = render(msgspec.structs.replace(report(*rows), sizes=None, without_sizes="too slow"))
    assert "no figures of memory and push: too slow" in text
    assert "p99 at half load: fetch seen, plain" in text


def test_the_object_has_all_figures() -> None:
    """What is printed can be read by programs too."""
    whole = report(Row("x", unavailable="y"))
    assert msgspec.json.decode(whole.as_json(), type=Report) == whole

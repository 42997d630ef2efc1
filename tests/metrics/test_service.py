"""Tests of pbx_stir.metrics.service: what a service's metrics say of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from lab.companies import Authority
from pbx_stir.certificates.anchors import AnchorFiles
from pbx_stir.metrics.exposing import page
from pbx_stir.metrics.service import DAY_SECONDS, ServiceMetrics, Watched, WatchedCredential

NOW = 1_800_000_000.0
A, B = "https://a.example", "https://b.example"


@dataclass
class FakePbx:
    name: str
    age: float | None

    def heartbeat_age(self) -> float | None:
        return self.age


@dataclass
class FakeGuard:
    silent: set[str] = field(default_factory=set)
    unavailable: set[str] = field(default_factory=set)

    def is_silent(self, cps: str) -> bool:
        return cps in self.silent

    def is_unavailable(self, cps: str) -> bool:
        return cps in self.unavailable


@dataclass
class FakeSubscription:
    live: bool

    def is_live(self) -> bool:
        return self.live


@dataclass
class FakeFeed:
    subscriptions: list[FakeSubscription]


async def read(metrics: ServiceMetrics) -> dict[str, float]:
    """What Prometheus would read: each sample as ``name{label="value"}``."""
    text = (await page([metrics])).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


async def told(**parts: Any) -> dict[str, float]:
    """What is read of these parts at NOW."""
    metrics = ServiceMetrics(lambda: NOW)
    metrics.watch(Watched(**parts))
    return await read(metrics)


async def test_a_pbx_is_connected_while_it_takes_heartbeats() -> None:
    """Connected or not, of each PBX; the heartbeat's age only of those that are."""
    found = await told(pbxs=[FakePbx("a", 0.5), FakePbx("b", None)])
    assert found['pbx_stir_pbx_connected{pbx="a"}'] == 1
    assert found['pbx_stir_pbx_connected{pbx="b"}'] == 0
    assert found['pbx_stir_heartbeat_age_seconds{pbx="a"}'] == 0.5
    assert 'pbx_stir_heartbeat_age_seconds{pbx="b"}' not in found


async def test_a_cps_is_shown_where_any_way_to_it_fails() -> None:
    """Stores and retrievals may go different ways: one that fails is enough to be seen."""
    guards = [FakeGuard(), FakeGuard(silent={A}, unavailable={A, "https://stranger.example"})]
    found = await told(cps=[A, B], guards=guards)
    assert found[f'pbx_stir_cps_breaker_open{{cps="{A}"}}'] == 1
    assert found[f'pbx_stir_cps_breaker_open{{cps="{B}"}}'] == 0
    assert found[f'pbx_stir_cps_reachable{{cps="{A}"}}'] == 0
    assert found[f'pbx_stir_cps_reachable{{cps="{B}"}}'] == 1
    assert not [name for name in found if "stranger" in name]


async def test_tokens_are_those_of_configured_cps() -> None:
    """A CPS that wants no token, or that only calls have met, has no sample."""

    async def left() -> Mapping[str, int]:
        return {A: 17, "https://stranger.example": 5}

    found = await told(cps=[A, B], tokens=left)
    assert [name for name in found if name.startswith("pbx_stir_tokens_left")] == [
        f'pbx_stir_tokens_left{{cps="{A}"}}'
    ]
    assert found[f'pbx_stir_tokens_left{{cps="{A}"}}'] == 17


async def test_a_subscription_is_live_where_all_of_it_is() -> None:
    """Numbers of one CPS may come by several streams: one that is lost shows."""
    feeds = {
        A: FakeFeed([FakeSubscription(True), FakeSubscription(True)]),
        B: FakeFeed([FakeSubscription(True), FakeSubscription(False)]),
    }
    found = await told(feeds=feeds)
    assert found[f'pbx_stir_subscription_live{{cps="{A}"}}'] == 1
    assert found[f'pbx_stir_subscription_live{{cps="{B}"}}'] == 0


async def test_days_of_our_certificates() -> None:
    """Each by its file's name; a number in it is not shown, and two names alike stay two."""
    files = ["/etc/company.pem", "/old/company.pem", "+12125551234.pem", "+12125551235.pem"]
    credentials = [
        WatchedCredential(file, NOW + days * DAY_SECONDS)
        for file, days in zip(files, (30, -1, 2, 3), strict=True)
    ]
    found = await told(credentials=credentials)
    name = "pbx_stir_certificate_days_left"
    assert found[f'{name}{{certificate="company.pem"}}'] == 30
    assert found[f'{name}{{certificate="company.pem 2"}}'] == -1
    assert found[f'{name}{{certificate="+x.pem"}}'] == 2
    assert found[f'{name}{{certificate="+x.pem 2"}}'] == 3


async def test_the_soonest_end_of_the_anchors(tmp_path_factory: Any) -> None:
    """Of all trust anchors the first to end counts; without any there is no sample."""
    folder = tmp_path_factory.mktemp("anchors")
    anchors = AnchorFiles([str(Authority.new(folder, "Lab").anchor)])
    end = anchors.current().certificates[0].not_valid_after_utc.timestamp()
    found = await told(anchors=anchors.current)
    assert found["pbx_stir_trust_anchors_days_left"] == (end - NOW) / DAY_SECONDS
    assert "pbx_stir_trust_anchors_days_left" not in await told()


async def test_an_old_connection_counts_until_the_new_one_is_there() -> None:
    """It takes our heartbeats; of a PBX that is configured no more nothing is said."""
    old = FakePbx("a", 0.7)
    for age, is_old in ((None, 1), (0.2, 0)):
        found = await told(pbxs=(FakePbx("a", age),), leaving=[old, FakePbx("gone", 0.1)])
        assert found['pbx_stir_pbx_old_connection{pbx="a"}'] == is_old
        assert found['pbx_stir_pbx_connected{pbx="a"}'] == 1
        assert found['pbx_stir_heartbeat_age_seconds{pbx="a"}'] == (0.7 if is_old else 0.2)
        assert not any("gone" in name for name in found)
    found = await told(pbxs=(FakePbx("a", None),), leaving=[FakePbx("a", None)])
    assert found['pbx_stir_pbx_connected{pbx="a"}'] == 0
    assert found['pbx_stir_pbx_old_connection{pbx="a"}'] == 0


async def test_a_refused_configuration_is_shown() -> None:
    """As long as another than the file's is in force."""
    assert (await told())["pbx_stir_configuration_refused"] == 0
    assert (await told(refused=lambda: True))["pbx_stir_configuration_refused"] == 1


async def test_redis_is_shown_where_it_is_used() -> None:
    """1 while it answers; no sample where single use is kept in a file."""
    assert (await told(redis_up=lambda: False))["pbx_stir_redis_up"] == 0
    assert "pbx_stir_redis_up" not in await told()


async def test_counts_outlive_new_parts() -> None:
    """After a reload calls are counted on, and trunks are those of the new configuration."""
    metrics = ServiceMetrics(lambda: NOW)
    line = {"event": "call", "direction": "out", "status": "stored", "reason": "stored"}
    metrics.watch(Watched(trunks=frozenset({"old"})))
    metrics.calls.told(line | {"trunk": "old"})
    metrics.watch(Watched(trunks=frozenset({"new"}), under_way=lambda: 3, lines_lost=lambda: 2))
    metrics.calls.told(line | {"trunk": "new"})
    metrics.calls.told(line | {"trunk": "old"})
    found = await read(metrics)
    calls = {name: value for name, value in found.items() if "calls_total" in name and value}
    assert sorted(calls.values()) == [1, 1, 1]
    assert any('trunk="other"' in name for name in calls)
    assert found["pbx_stir_calls_under_way"] == 3
    assert found["pbx_stir_call_log_lines_lost_total"] == 2


async def test_which_version_runs() -> None:
    """The version of ours and of Python, and what Prometheus' own clients say of a process."""
    found = await told()
    assert any(name.startswith("pbx_stir_build_info{") for name in found)
    assert found["process_start_time_seconds"] > 0


async def test_a_source_that_fails_takes_no_other_along() -> None:
    """What can be read is given, and the rest is said in the log."""

    async def broken() -> Mapping[str, int]:
        raise OSError("disk")

    metrics, other = ServiceMetrics(lambda: NOW), ServiceMetrics(lambda: NOW)
    metrics.watch(Watched(tokens=broken))
    text = (await page([metrics, other])).decode()
    assert text.count("# TYPE pbx_stir_build_info gauge") == 1

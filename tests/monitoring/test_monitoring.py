"""The dashboard and the alerts read metrics that are really exposed, and are sound themselves."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.redis_servers import free_ports
from tests.monitoring.conftest import exposed, families, metrics_in

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "monitoring/alerts.yaml"
DASHBOARD = ROOT / "monitoring/grafana-dashboard.json"
PAGE = ROOT / "docs/monitoring.md"
UNIT_TESTS = Path(__file__).with_name("alerts_test.yaml")
# only where Redis keeps single use: what it says is tested in tests/metrics
WITH_REDIS = {"pbx_stir_redis_up"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What a service and its CPS expose."""
    return asyncio.run(exposed(tmp_path_factory.mktemp("exposed"), free_ports(1)[0]))


@pytest.fixture(scope="module")
def known(texts: tuple[str, str]) -> dict[str, set[str]]:
    """Each sample that is exposed, with its labels."""
    found: dict[str, set[str]] = {name: set() for name in WITH_REDIS}
    for text in texts:
        for name, family in families(text).items():
            labels = [set(one.labels) for one in family.samples if one.name == name]
            found.setdefault(name, set()).update(*labels)
    return found


def panels() -> list[dict[str, Any]]:
    """All panels of the dashboard, in their order."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def rules() -> Iterator[dict[str, Any]]:
    """All rules, recording ones and alerts."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def expressions() -> list[str]:
    """All that is asked of Prometheus."""
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    asked += [one["definition"] for one in variables if one["type"] == "query"]
    return asked + [rule["expr"] for rule in rules()]


def test_what_is_read_is_exposed(known: dict[str, set[str]]) -> None:
    """Each metric in dashboard and alerts is one that a real service or CPS exposes."""
    asked = {name for one in expressions() for name in metrics_in(one)}
    assert asked - set(known) == set()
    assert len(asked) > 15


def test_each_label_that_is_matched_exists(known: dict[str, set[str]]) -> None:
    """A selector names labels of its metric, or those that Prometheus adds when it scrapes."""
    for expression in expressions():
        for name, selector in re.findall(r"(pbx_stir_[a-z_]+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", selector))
            assert labels <= known[name] | {"instance", "job"}, expression


def test_verdicts_and_reasons_that_are_matched_exist() -> None:
    """A word in a selector is one of the closed lists, or Prometheus would find nothing, ever."""
    from pbx_stir.services.call import Reason, Status, Verstat

    words = {one.value for one in (*Reason, *Status, *Verstat)}
    for expression in expressions():
        for given in re.findall(r"(?:verdict|reason)(?:=~|!~|!=|=)\"([^\"]*)\"", expression):
            assert set(given.split("|")) <= words, expression


def test_every_metric_is_explained(known: dict[str, set[str]]) -> None:
    """docs/monitoring.md has a row for each metric, and none for one that is not there."""
    rows = set(re.findall(r"(?m)^\| `(pbx_stir_[a-z_]+)` \|", PAGE.read_text()))
    exposed_names = {
        re.sub(r"_(bucket|count|sum)$", "", name) for name in known if name.startswith("pbx_stir_")
    }
    assert {name.removesuffix("_created") for name in exposed_names} == rows


def test_no_number_is_exposed(texts: tuple[str, str]) -> None:
    """Neither caller nor called stands in what anybody who connects can read."""
    for text in texts:
        assert "1212555" not in text


def test_the_dashboard_is_one() -> None:
    """Panels have ids of their own and places that do not overlap; all ask the chosen source."""
    board = json.loads(DASHBOARD.read_text())
    assert board["schemaVersion"] >= 36
    assert board["id"] is None
    assert {"title", "uid", "time", "templating", "panels"} <= set(board)
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        assert panel["type"] in {"stat", "timeseries"}
        assert [one["refId"] for one in panel["targets"]] == sorted(
            {one["refId"] for one in panel["targets"]}
        )
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_variables_that_are_used_are_defined() -> None:
    """Whatever begins with $ in an expression is a variable of the dashboard, or Grafana's own."""
    defined = {one["name"] for one in json.loads(DASHBOARD.read_text())["templating"]["list"]}
    for expression in expressions():
        used = set(re.findall(r"\$(\w+)", expression)) - {"labels", "value"}
        assert used <= defined | {"__rate_interval"}, expression


def test_every_alert_waits_and_says_what_to_do() -> None:
    """Each has ``for``, a severity, a summary, and a heading in docs/monitoring.md to go to."""
    headings = {one.lower() for one in re.findall(r"(?m)^### (\w+)$", PAGE.read_text())}
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) >= 8
    for rule in alerts:
        assert re.fullmatch(r"[0-9]+[mh]", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        found = re.match(r"docs/monitoring\.md#([a-z]+): \S", rule["annotations"]["runbook"])
        assert found, rule["alert"]
        assert found[1] in headings, rule["alert"]
        assert rule["alert"] in PAGE.read_text()


def test_promtool_takes_the_rules(promtool: Path) -> None:
    """Prometheus' own checker finds nothing wrong."""
    done = subprocess.run(
        [promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_what_panels_ask(promtool: Path, tmp_path: Path) -> None:
    """Each panel's expression is PromQL, with any value for the dashboard's variables."""
    asked = [one for one in expressions() if not one.startswith("label_values(")]
    plain = [re.sub(r"\$\w+", "x", one.replace("$__rate_interval", "5m")) for one in asked]
    found = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(plain)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": found}]}))
    done = subprocess.run(
        [promtool, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should(promtool: Path) -> None:
    """Prometheus evaluates the rules on made-up series: only what is wrong fires."""
    done = subprocess.run(
        [promtool, "test", "rules", UNIT_TESTS],
        cwd=UNIT_TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("which", [0, 1], ids=["run", "cps"])
def test_promtool_takes_what_is_exposed(promtool: Path, texts: tuple[str, str], which: int) -> None:
    """The text is Prometheus' own format; names keep to its conventions, but for days."""
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=texts[which],
        capture_output=True,
        text=True,
        check=False,
    )
    # a certificate's end is thought of in days, by people and by the alerts
    said = (done.stdout + done.stderr).splitlines()
    assert [one for one in said if one and 'instead of "days"' not in one] == []

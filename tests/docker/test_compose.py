"""docker/compose.yaml: it comes up healthy, its genuine call verifies, and it is closed."""

from __future__ import annotations

from typing import Any

import pytest

SERVICES = ("redis", "cps", "pbx-a", "pbx-b", "stranger", "listener-a", "listener-b")


def test_it_comes_up_healthy(demo: Any) -> None:
    """Every service is healthy within a minute, and the keys were made."""
    demo.wait_healthy(*SERVICES)
    assert demo.state("keys")["ExitCode"] == 0
    assert all(demo.container(one).attrs["RestartCount"] == 0 for one in SERVICES)


def test_the_genuine_call_verifies(demo: Any) -> None:
    """``run calls`` prints the CDRs: the genuine call passed, the spoofed one has no PASSporT."""
    said = demo.compose("run", "--rm", "calls").splitlines()
    genuine_a, genuine_b, spoofed = said[-4:-1]
    assert genuine_a.split()[:4] == ["genuine", "company", "A", "status=stored"]
    assert "verstat=TN-Validation-Passed reason=verified" in genuine_b
    assert "verstat=No-TN-Validation reason=no-passport" in spoofed
    assert said[-1] == "as expected"


def test_the_pbxs_own_file_has_the_verdict(demo: Any) -> None:
    """What ``calls`` prints is what Asterisk wrote to its Master.csv."""
    _, written = demo.container("pbx-b").exec_run("cat /var/log/asterisk/cdr-custom/Master.csv")
    rows = written.decode().splitlines()
    assert any("verstat=TN-Validation-Passed reason=verified" in row for row in rows)
    assert any("verstat=No-TN-Validation reason=no-passport" in row for row in rows)


def test_the_stranger_has_no_listener(demo: Any) -> None:
    """Nobody signs for the stranger, and no volume of a company is in his container."""
    mounted = {one.get("Name", "") for one in demo.container("stranger").attrs["Mounts"]}
    assert not any("company" in name or "authority" in name for name in mounted)


@pytest.mark.parametrize("service", SERVICES)
def test_containers_are_closed(demo: Any, service: str) -> None:
    """Not root, no capability, nothing but its own folders can be written to, nothing published."""
    container = demo.container(service)
    host = container.attrs["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["PortBindings"]
    assert not host["Privileged"]
    assert any("no-new-privileges" in option for option in host["SecurityOpt"])
    assert container.exec_run(["id", "-u"]) == (0, b"10001\n")
    assert container.exec_run(["touch", "/etc/x"])[0] != 0


def test_secrets_are_in_files_of_one_party(demo: Any) -> None:
    """No secret is in an environment or a command line; files of keys are for their user alone."""
    for service in SERVICES:
        settings = demo.container(service).attrs["Config"]
        words = " ".join([*settings["Env"], *(settings["Cmd"] or [])]).lower()
        assert "secret=" not in words
        assert "password=" not in words
    listing = ["find", "/etc/pbx-stir", "-name", "*.key", "-printf", "%m %U %f\\n"]
    _, listed = demo.container("listener-a").exec_run(listing)
    assert listed.decode() == "600 10001 company.key\n"


def test_the_health_check_sees_a_lost_pbx(demo: Any) -> None:
    """``healthy`` in a listener's container: 0, and 1 with the PBX's name while that is stopped."""
    listener, pbx = demo.container("listener-a"), demo.container("pbx-a")
    assert listener.exec_run("healthy")[0] == 0
    pbx.stop(timeout=5)
    try:
        status, said = listener.exec_run("healthy")
        assert status == 1
        assert b"pbx-a" in said
    finally:
        pbx.start()
    demo.wait_healthy("pbx-a", "listener-a")


@pytest.mark.parametrize("service", ["listener-b", "cps", "pbx-b"])
def test_it_ends_by_itself(demo: Any, service: str) -> None:
    """``docker stop`` is SIGTERM to process 1: it drains and ends with 0, and is not killed."""
    container = demo.container(service)
    container.stop(timeout=15)
    try:
        assert demo.state(service)["ExitCode"] == 0
    finally:
        container.start()
    demo.wait_healthy(service)


def test_the_doctor_finds_no_error(demo: Any) -> None:
    """``pbx-stir check`` in a listener's container: its PBX, its keys and its CPS are in order."""
    demo.wait_healthy("listener-a")
    status, said = demo.container("listener-a").exec_run(["pbx-stir", "check"])
    assert status == 0, said.decode()


def test_freeswitch_is_an_image_of_yours(demo: Any) -> None:
    """Off by default; its listener shares its network, and has a configuration that loads."""
    assert not demo.client.containers.list(all=True, filters={"name": f"{demo.project}.freesw"})
    shown = demo.compose("--profile", "freeswitch", "config")
    assert "service:freeswitch" in shown
    volume = {f"{demo.project}_company-f": {"bind": "/etc/pbx-stir", "mode": "ro"}}
    code = "from pathlib import Path; from pbx_stir import config; print(config.load(Path("
    code += "'/etc/pbx-stir/pbx-stir.toml')).values.freeswitch[0].name)"
    python = ["/opt/pbx-stir/bin/python"]
    said = demo.printed("pbx-stir:tests", ["-c", code], entrypoint=python, volumes=volume)
    assert said == "freeswitch\n"

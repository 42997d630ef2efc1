"""The images: small, for a user without rights, with no key of anybody, of use by themselves."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

IMAGES = ("pbx-stir:tests", "pbx-stir-asterisk:tests")
MEGABYTES = {"pbx-stir:tests": 230, "pbx-stir-asterisk:tests": 400}


@pytest.fixture(autouse=True)
def _built(demo: Any) -> None:
    """The demo has built them."""


def run(demo: Any, image: str, program: str, *words: str) -> str:
    """What a container of the image prints, with a root that is read-only and no capability."""
    printed: str = demo.printed(
        image, list(words), entrypoint=[program], read_only=True, cap_drop=["ALL"]
    )
    return printed


@pytest.mark.parametrize("image", IMAGES)
def test_it_is_no_larger_than_said(demo: Any, image: str) -> None:
    """docs/docker.md says how large they are; the base is part of it."""
    assert demo.client.images.get(image).attrs["Size"] < MEGABYTES[image] * 1_000_000


@pytest.mark.parametrize("image", IMAGES)
def test_it_is_made_for_a_user_without_rights(demo: Any, image: str) -> None:
    """The user is a number, as Kubernetes' runAsNonRoot wants it, and there is a health check."""
    settings = demo.client.images.get(image).attrs["Config"]
    assert settings["User"] == "10001:10001"
    assert settings["Healthcheck"]["Test"][0] == "CMD"


@pytest.mark.parametrize("image", IMAGES)
def test_no_layer_has_a_key(demo: Any, image: str) -> None:
    """No private key and no secret's file came in with what was copied, nor was one made."""
    places = "/etc /opt /var /usr/share/pbx-stir /root /home"
    seek = f"find {places} -xdev -type f \\( -name '*.key' -o -name '*.secret' \\) 2>/dev/null"
    grep = f"grep -rlI 'BEGIN .*PRIVATE KEY' {places.replace('/opt', '')} 2>/dev/null"
    assert run(demo, image, "sh", "-c", f"{seek}; {grep}; true") == ""


def test_the_program_runs(demo: Any) -> None:
    """``docker run pbx-stir COMMAND`` is ``pbx-stir COMMAND``, with every extra that it can use."""
    assert run(demo, "pbx-stir:tests", "pbx-stir", "--version").startswith("pbx-stir ")
    needs = "import dns, gmpy2, prometheus_client, python_socks, redis, uvloop"
    assert run(demo, "pbx-stir:tests", "/opt/pbx-stir/bin/python", "-c", needs) == ""


def test_there_is_no_tool_to_install_with(demo: Any) -> None:
    """pip and compilers stay in the stage that built."""
    found = run(demo, "pbx-stir:tests", "sh", "-c", "command -v pip pip3 gcc curl; true")
    assert found == ""


def test_asterisk_has_the_dialplan(demo: Any) -> None:
    """It lies where docs/docker.md says, the samples beside it."""
    listed = run(demo, "pbx-stir-asterisk:tests", "ls", "/usr/share/pbx-stir")
    assert {"pbx-stir.conf", "manager.conf.sample"} <= set(listed.split())


def test_a_cps_by_itself_is_healthy(demo: Any) -> None:
    """``docker run pbx-stir cps --no-tls --no-tokens``, read-only: its health check says so."""
    container = demo.client.containers.run(
        "pbx-stir:tests",
        ["cps", "--listen", "127.0.0.1:8480", "--no-tls", "--no-tokens"],
        detach=True,
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
    )
    try:
        with contextlib.closing(container.logs(stream=True)) as lines:
            assert any(b"listening on" in line for line in lines)
        assert container.exec_run("healthy") == (0, b"healthy\n")
    finally:
        container.remove(force=True, v=True)

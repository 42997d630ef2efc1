"""What ``pbx-stir cps`` says of the Redis that it keeps entries on."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.redis_servers import free_ports, running_redis

SECONDS = 30.0


def read(url: str) -> str:
    """A page; an error's too."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.code)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.usefixtures("redis_installed")
def test_a_lost_redis_is_shown(tmp_path: Path) -> None:
    """While it is lost requests are answered 503, and the gauge is 0; then both are well again."""
    with running_redis(tmp_path / "redis", ("maxmemory-policy", "noeviction")) as server:
        port, metrics = free_ports(2)
        config = tmp_path / "cps.toml"
        config.write_text(f"""
state_dir = "state"
[cps]
listen = "127.0.0.1:{port}"
tls = false
tokens = false
metrics = "127.0.0.1:{metrics}"
[cps.redis]
url = "redis://127.0.0.1:{server.port}"
""")
        command = [sys.executable, "-m", "pbx_stir", "cps", "--config", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            while "listening on" not in (line := process.stderr.readline()):
                assert line, "the cps did not start"
            told = f"http://127.0.0.1:{metrics}/metrics"
            listed = f"http://127.0.0.1:{port}/cps/12125551234/ppts"
            eventually(lambda: read(listed).startswith("{"))
            assert "\npbx_stir_cps_redis_up 1.0" in read(told)
            server.kill()
            eventually(lambda: read(listed) == "503")
            text = read(told)
            assert "\npbx_stir_cps_redis_up 0.0" in text
            assert 'status="503"' in text
            server.start()
            eventually(lambda: "\npbx_stir_cps_redis_up 1.0" in read(told))
        finally:
            process.terminate()
            process.communicate(timeout=20)

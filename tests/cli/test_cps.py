"""Tests of pbx_stir.cli.cps: the command as a process."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pbx_stir.cli import cps
from pbx_stir.errors import ConfigurationError

CODE = """
import argparse, sys
from pbx_stir.cli import cps
parser = argparse.ArgumentParser()
cps.add_arguments(parser)
sys.exit(cps.run(parser.parse_args()))
"""
# The same, sent SIGHUP when it begins to read its configuration.
SIGNALLED = """
import os, signal
before = cps.sharing_from
cps.sharing_from = lambda args: os.kill(os.getpid(), signal.SIGHUP) or before(args)
parser = """


def arguments(*words: str) -> argparse.Namespace:
    """Parse a command line."""
    parser = argparse.ArgumentParser()
    cps.add_arguments(parser)
    return parser.parse_args(words)


@contextmanager
def process(*words: str, code: str = CODE) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command until it says where it listens."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True
    )
    assert started.stderr is not None
    try:
        said = ""
        while not said.startswith("listening on "):
            said = started.stderr.readline()
            assert said, "it ended without listening"
        yield started, said.split()[-1]
    finally:
        started.kill()
        started.wait()
        started.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_on_a_signal(number: signal.Signals) -> None:
    """Port 0 takes a free port and says which; a signal ends it with status 0."""
    with process("--listen", "127.0.0.1:0", "--no-tls", "--no-tokens") as (running, url):
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/cps/12125551234/ppts", timeout=5) as answer:
            assert json.load(answer)["ppts"]
        running.send_signal(number)
        assert running.wait(10) == 0


def test_a_signal_to_read_again_does_not_end_one_that_starts() -> None:
    """What SIGHUP asks to read again is just being read."""
    code = CODE.replace("parser = ", SIGNALLED, 1)
    words = ("--listen", "127.0.0.1:0", "--no-tls", "--no-tokens")
    with process(*words, code=code) as (running, _):
        running.terminate()
        assert running.wait(10) == 0


def test_defaults_are_the_safe_ones() -> None:
    """Without options: loopback, TLS, tokens."""
    settings = cps.settings_from(arguments())
    assert (settings.host, settings.port) == ("127.0.0.1", 8480)
    assert settings.tls
    assert settings.tokens


def test_no_tls_is_for_loopback() -> None:
    """--no-tls on any other address does not start."""
    with pytest.raises(ConfigurationError, match="without tls"):
        cps.run(arguments("--listen", "0.0.0.0:0", "--no-tls"))


def test_tls_needs_its_files() -> None:
    """Neither does TLS without a certificate."""
    with pytest.raises(ConfigurationError, match="certificate"):
        cps.run(arguments("--listen", "127.0.0.1:0"))

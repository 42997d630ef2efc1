"""``[cps.bare]``: a second listener beside the first, from the same configuration."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.companies import Authority, tls_certificate
from pbx_stir.cli.bare import bare_settings
from pbx_stir.cli.cps import parse_listen
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import ConfigurationError, UsageError
from pbx_stir.stir import credential
from pbx_stir.stir.signed_request import RETRIEVAL, sign_request
from pbx_stir.stir.tnauthlist import TnAuthList


def write(folder: Path, text: str) -> str:
    """A configuration file."""
    (folder / "pbx-stir.toml").write_text(text)
    return str(folder / "pbx-stir.toml")


def test_without_listen_there_is_none(tmp_path: Path) -> None:
    """Nobody listens for unsealed PASSporTs who was not told to."""
    common = CpsSettings()
    assert bare_settings(None, common, parse_listen) is None
    file = write(tmp_path, '[cps.bare]\nsubmitters = "any"\n')
    assert bare_settings(file, common, parse_listen) is None


def test_it_takes_from_the_first_listener_what_it_does_not_say(tmp_path: Path) -> None:
    """Certificate and limits are shared, the address, names and who may come are its own."""
    common = CpsSettings(certificate="a", key="b", names=("one",), max_connections=99)
    text = '[cps.bare]\nlisten="127.0.0.1:9"\nsubmitters="any"\nretrieval="any"\nnames=["two"]\n'
    found = bare_settings(write(tmp_path, text), common, parse_listen)
    assert found is not None
    assert (found.common.host, found.common.port) == ("127.0.0.1", 9)
    assert (found.common.certificate, found.common.key) == ("a", "b")
    assert (found.common.names, found.common.max_connections) == (("two",), 99)
    assert (found.submitters, found.retrieval) == ("any", "any")
    assert found.common.client_certificates
    text += 'certificate="c.pem"\nkey="c.key"\ntls=false\nclient_certificates=false\n'
    found = bare_settings(write(tmp_path, text), common, parse_listen)
    assert found is not None
    assert found.common.certificate == str(tmp_path / "c.pem")
    assert (found.common.tls, found.common.client_certificates) == (False, False)


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    """Signed requests that nobody could check, and an address that is none."""
    file = write(tmp_path, '[cps.bare]\nlisten="127.0.0.1:9"\n')
    with pytest.raises(ConfigurationError, match=r"cps\.bare"):
        bare_settings(file, CpsSettings(), parse_listen)
    file = write(tmp_path, '[cps.bare]\nlisten="nowhere"\nsubmitters="any"\nretrieval="any"\n')
    with pytest.raises(UsageError):
        bare_settings(file, CpsSettings(), parse_listen)


def statuses_of_one_request(urls: Sequence[str], folder: Path, authority: Authority) -> list[int]:
    """What a holder's retrieval is answered that is sent to each, signed once."""
    number = "12125551234"
    files = authority.issue(folder, "holder", TnAuthList(numbers=(number,)))
    signer = credential.load(*(file.read_bytes() for file in files), x5u="https://x5u.example/c")
    path = f"/cps/{number}/ppts"
    value = sign_request(
        RETRIEVAL,
        audience="127.0.0.1",
        method="GET",
        path=path,
        body=b"",
        now=time.time(),
        credential=signer,
    )
    statuses = []
    for url in urls:
        request = urllib.request.Request(url + path, headers={"Authorization": value})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                statuses.append(answer.status)
        except urllib.error.HTTPError as refused:
            statuses.append(refused.code)
            refused.close()
    return statuses


def test_both_listen_and_end_together(tmp_path: Path) -> None:
    """The command says both addresses; what is sealed and what is not are at two of them. One
    memory of signed requests serves both."""
    authority = Authority.new(tmp_path, "Lab Authority")
    certificate, key, _ = tls_certificate(tmp_path, "cps", ["127.0.0.1"])
    file = write(
        tmp_path,
        f"""
[cps]
listen = "127.0.0.1:0"
tls = false
tokens = false
certificate = "{certificate.name}"
key = "{key.name}"
trust = ["lab-authority.pem"]
[cps.bare]
listen = "127.0.0.1:0"
tls = false
""",
    )
    code = "import sys; from pbx_stir.cli.main import main; sys.exit(main())"
    running = subprocess.Popen(
        [sys.executable, "-c", code, "cps", "--config", file], stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    try:
        urls: dict[str, str] = {}
        while "listening on" not in urls:
            said = running.stderr.readline()
            assert said, "it ended without listening"
            what, _, url = said.strip().rpartition(" ")
            urls[what] = url
        sealed, bare = urls["listening on"], urls["unsealed passports at"]
        with urllib.request.urlopen(f"{sealed}/cps/12125551234/ppts", timeout=10) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{bare}/cps/12125551234/ppts", timeout=10)
        assert refused.value.code == 401
        refused.value.close()
        assert statuses_of_one_request((sealed, bare), tmp_path, authority) == [200, 401]
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    finally:
        running.kill()
        running.wait()
        running.stderr.close()

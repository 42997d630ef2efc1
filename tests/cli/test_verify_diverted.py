"""``pbx-stir verify`` on calls that were passed on: the verdict names who did, and the way."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pbx_stir.cli.main import main
from pbx_stir.stir import passport
from pbx_stir.stir.passport import Passport
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.cli.conftest import ALICE, BOB, Office

CAROL, DAVE = "14155553000", "16465554000"


class Way:
    """Alice calls Bob, who passes the call on to Carol, and she to Dave."""

    def __init__(self, office: Office, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.office, self.folder, self.capsys = office, folder, capsys
        self.now = int(time.time()) - 10
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        urls = {}
        for number in (ALICE, BOB, CAROL):
            listed = TnAuthList(numbers=(number,))
            certificate, key = office.authority.issue(folder, number, listed)
            read = load_pem_private_key(key.read_bytes(), None)
            assert isinstance(read, ec.EllipticCurvePrivateKey)
            self.keys[number] = read
            urls[self.x5u(number)] = str(certificate)
        self.map = folder / "map.json"
        self.map.write_text(json.dumps(urls))

    def x5u(self, number: str) -> str:
        """Where the certificate of a number is."""
        return f"https://certificates.example.com/{number}.pem"

    def token(self, ppt: str, by: str, to: str, later: int, **extra: object) -> Passport:
        """A PASSporT about Alice's call, signed for ``by``."""
        return passport.sign(
            orig=ALICE,
            dest=[to],
            iat=self.now + later,
            x5u=self.x5u(by),
            key=self.keys[by],
            ppt=ppt,
            extra=extra,
        )

    def said(self, *tokens: Passport, dest: str, explain: bool = True) -> tuple[int, list[str]]:
        """Exit status and what is printed."""
        file = self.folder / "identity"
        file.write_text("\n".join(token.token for token in tokens))
        given = ["--identity-file", str(file), "--orig", ALICE, "--dest", dest]
        given += ["--trust", self.office.trust, "--certificates", str(self.map)]
        self.capsys.readouterr()
        status = main(["verify", *given, *(["--explain"] if explain else [])])
        return status, self.capsys.readouterr().out.splitlines()


@pytest.fixture
def way(office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Way:
    """Three who sign."""
    return Way(office, tmp_path, capsys)


def test_the_chain_is_told_in_its_order(way: Way) -> None:
    """Who called whom, who passed the call on, and how much later."""
    original = way.token("", ALICE, BOB, 0)
    first = way.token("div-o", BOB, CAROL, 2, div={"tn": BOB}, opt=original.token)
    second = way.token("div-o", CAROL, DAVE, 7, div={"tn": CAROL}, opt=first.token)
    status, lines = way.said(second, dest=DAVE)
    assert status == 0
    assert lines[0] == (
        f"TN-Validation-Passed (verified): {ALICE} to {DAVE}, signed by {ALICE}, "
        f"passed on by {CAROL}"
    )
    at = lines.index(f"  1.   {ALICE} calls {BOB}, iat {way.now}")
    assert lines[at + 1] == f"  2.   {BOB} passes the call on to {CAROL}, 2 s later, div-o"
    assert lines[at + 2] == f"  3.   {CAROL} passes the call on to {DAVE}, 5 s later, div-o"


def test_div_headers_side_by_side_are_a_chain_too(way: Way) -> None:
    """The lines of a file are one call's headers."""
    original = way.token("", ALICE, BOB, 0)
    div = way.token("div", BOB, CAROL, 3, div={"tn": BOB})
    status, lines = way.said(original, div, dest=CAROL)
    assert status == 0
    assert lines[0].endswith(f"passed on by {BOB}")
    assert f"  2.   {BOB} passes the call on to {CAROL}, 3 s later, div" in lines


def test_a_chain_by_somebody_else_is_told_and_refused(way: Way) -> None:
    """A div-o for Bob that Carol has signed: the way is shown, and where it ends."""
    original = way.token("", ALICE, BOB, 0)
    false = way.token("div-o", CAROL, DAVE, 1, div={"tn": BOB}, opt=original.token)
    status, lines = way.said(false, dest=DAVE)
    assert status == 1
    assert f"  2.   {BOB} passes the call on to {DAVE}, 1 s later, div-o" in lines
    assert "  no   does the certificate cover the calling number?" in lines

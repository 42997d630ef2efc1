"""``pbx-stir sign``: what it prints is what was asked for, and verifies."""

from __future__ import annotations

import itertools
import os
import re
import time
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, x25519

from pbx_stir.cli.main import main
from pbx_stir.stir import passport
from tests.cli.conftest import ALICE, BOB, X5U, Office

UUID = "7f3c6bd8-1f2e-4d1c-9d39-5ed1e5a8f6a0"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that is said for wrong use; argparse's own refusals count as well."""
    try:
        status = main(["sign", *arguments])
    except SystemExit as end:
        status = int(str(end.code))
    said = capsys.readouterr()
    assert status == 2, said
    assert said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("attest", "origid", "certificate", "country", "bare"),
    list(
        itertools.product(
            ["", "A", "B", "C"], [False, True], [False, True], [False, True], [False, True]
        )
    ),
)
def test_each_combination_of_options(
    office: Office,
    capsys: pytest.CaptureFixture[str],
    attest: str,
    origid: bool,
    certificate: bool,
    country: bool,
    bare: bool,
) -> None:
    """Base or shaken, an Identity header or a bare token, national or canonical numbers."""
    options = ["--at", "1800000000"]
    options += ["--attest", attest] if attest else []
    options += ["--origid", UUID] if origid and attest else []
    options += ["--certificate", office.file("alice.pem")] if certificate else []
    options += ["--orig", "(212) 555-1234", "--country-code", "1"] if country else []
    options += ["--passport"] if bare else []
    said = office.sign(capsys, *options)
    assert (";" in said) == (not bare)
    token = passport.parse(said) if bare else passport.parse_identity(said)
    assert (token.orig, token.dest, token.iat, token.x5u) == (ALICE, (BOB,), 1_800_000_000, X5U)
    assert token.ppt == ("shaken" if attest else "")
    assert token.attest == attest
    if attest:
        assert token.origid == UUID if origid else uuid.UUID(token.origid).version == 4
    else:
        assert uuid.UUID(str(token.claims["jti"])).version == 4


def test_the_iat_is_now(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless it is said; each token has an id of its own."""
    before = int(time.time())
    tokens = [passport.parse(office.sign(capsys, "--passport")) for _ in range(2)]
    assert all(before <= token.iat <= time.time() for token in tokens)
    assert tokens[0].claims["jti"] != tokens[1].claims["jti"]


def _pem(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | dsa.DSAPrivateKey)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _armoured(text: bytes) -> bytes:
    return b"-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n" % text


def test_keys_that_cannot_sign(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Missing, no PEM, encrypted, another curve, another kind: a line that names the file."""
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    unknown = _armoured(b"MBQCAQAwBwYFKoEEAAEEBgIBAQIBAg==")
    keys = {
        "no unencrypted private key": [b"", b"junk", b"\xff\x00", encrypted, unknown],
        "not a P-256 key": [
            _pem(ec.generate_private_key(ec.SECP384R1())),
            _pem(x25519.X25519PrivateKey.generate()),
        ],
        "larger than": [bytes((1 << 20) + 1)],
    }
    given = ["--orig", ALICE, "--dest", BOB, "--x5u", X5U, "--key", str(tmp_path / "key")]
    for said, bodies in keys.items():
        for octets in bodies:
            (tmp_path / "key").write_bytes(octets)
            err = refused(capsys, *given)
            assert said in err
            assert str(tmp_path / "key") in err
    assert "cannot read" in refused(capsys, *given[:-1], str(tmp_path / "none"))
    assert "cannot read" in refused(capsys, *given[:-1], str(tmp_path))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--orig", "x"], "--orig: "),
        (["--orig", ""], "--orig: "),
        (["--orig", "1" * 16], "--orig: "),
        (["--orig", "\u0661\u0662\u0663\u0664\u0665\u0666\u0667"], "--orig: "),
        (["--dest", "sip:bob@example.com"], "--dest: "),
        (["--country-code", "x"], "--country-code"),
        (["--country-code", "1234"], "--country-code"),
        (["--origid", UUID], "--origid goes with --attest"),
        (["--x5u", "certificates.example.com"], "--x5u: "),
        (["--x5u", "javascript:1"], "--x5u: "),
        (["--x5u", "ftp://a.example/x"], "--x5u: "),
        (["--x5u", "https://a.example/" + "x" * 2000], "--x5u: "),
        (["--x5u", "https://a.example/x>;info=<b"], "x5u"),
        (["--x5u", "https://a.example/\r\nVia: x"], "x5u"),
        (["--at", "nan"], "--at"),
        (["--at", "1.5"], "--at"),
        (["--at", "-1"], "iat"),
        (["--at", "9" * 30], "iat"),
        (["--at", "9" * 5000], "--at"),
        (["--attest", "D"], "--attest"),
        (["--attest", "A", "--origid", "\udcff"], "--origid: "),
        (["--attest", "A", "--origid", "\x01"], "--origid: "),
        (["--attest", "A", "--origid", UUID.replace("-", "")], "--origid: "),
        (["--attest", "A", "--origid", UUID + "\n"], "--origid: "),
    ],
)
def test_wrong_use_is_said(
    office: Office, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    """One line with the option's name, exit status 2, and nothing signed."""
    given = ["--orig", ALICE, "--dest", BOB, "--key", office.file("alice.key"), "--x5u", X5U]
    err = refused(capsys, *given, *options)
    assert said in err
    assert "Traceback" not in err


def test_a_certificate_is_held_against_key_and_number(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody would believe is not signed; a provider's code is for any number."""
    given = ["--dest", BOB, "--x5u", X5U]
    alice, provider = office.file("alice.pem"), office.file("provider.pem")
    key = ["--key", office.file("alice.key")]
    err = refused(capsys, *given, *key, "--orig", "12125559999", "--certificate", alice)
    assert re.search(r"alice\.pem does not cover 12125559999", err)
    assert "not that of the certificate" in refused(
        capsys, *given, *key, "--orig", ALICE, "--certificate", provider
    )
    assert "no usable certificate" in refused(
        capsys, *given, *key, "--orig", ALICE, "--certificate", office.file("alice.key")
    )
    options = ["--certificate", provider, "--key", office.file("provider.key"), "--attest", "A"]
    assert passport.parse_identity(office.sign(capsys, *options)).attest == "A"


def test_the_environment_says_nothing(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither key nor password is printed, whatever goes wrong."""
    key = Path(office.file("alice.key")).read_text().splitlines()[1]
    err = refused(
        capsys, "--orig", ALICE, "--dest", BOB, "--x5u", "x", "--key", office.file("alice.key")
    )
    assert key not in err
    assert os.linesep in err

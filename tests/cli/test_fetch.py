"""``pbx-stir fetch``: what strangers sealed to us reaches no terminal as it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pbx_stir.cli import fetch
from pbx_stir.cli.main import main
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer
from pbx_stir.stir import sealing
from tests.cli.conftest import BOB


class Cps:
    """A client whose CPS answers with what a test gives it."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers

    async def retrieve(self, *_: object):  # type: ignore[no-untyped-def]
        """One after the other."""
        for answer in self.answers:
            yield answer

    async def close(self) -> None:
        """Nothing is held."""


def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    answers: list[Answer],
    key: sealing.X25519PrivateKey,
) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    private = tmp_path / "private.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    monkeypatch.setattr(fetch, "client_of", lambda _: Cps(answers))
    arguments = ["--cps", "https://cps.example", "--dest", BOB, "--private-key", str(private)]
    status = main(["fetch", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_only_tokens_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Escapes, line breaks, broken plaintexts and dummies are said, counted or silent."""
    key = sealing.new_private_key()
    public = sealing.public_octets(key)
    blobs = [sealing.seal(text, [], public, BOB) for text in ("a.b.c", "\x1b[2J", "a\nb", "d.e.f")]
    blobs += [sealing.dummy(os.urandom(32)), sealing.seal("x.y.z", [], public, "1")]
    answer = Answer("https://cps.example", BOB, tuple(blobs))
    status, out, err = run(monkeypatch, capsys, tmp_path, [answer], key)
    assert (status, out) == (0, "a.b.c\nd.e.f\n")
    assert err.count("not a PASSporT") == 2
    assert "6 entries, 2 opened" in err
    assert "\x1b" not in err


def test_what_has_not_the_sealed_form_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Sealed to us, but by somebody who does not keep to the form."""
    from pbx_stir.errors import MalformedSealed

    def broken(*_: object) -> None:
        raise MalformedSealed("padding")

    monkeypatch.setattr(sealing, "open_sealed", broken)
    answer = Answer("https://cps.example", BOB, (b"x",))
    key = sealing.new_private_key()
    status, out, err = run(monkeypatch, capsys, tmp_path, [answer], key)
    assert (status, out) == (1, "")
    assert "opened, but not of the sealed form: padding" in err


def test_no_answer_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A CPS that fails, or that ends without a word."""
    failed = Answer("https://cps.example", BOB, reason=Reason.CPS_UNAVAILABLE, detail="down")
    key = sealing.new_private_key()
    for answers, said in (([failed], "cps-unavailable: down"), ([], "no answer")):
        status, out, err = run(monkeypatch, capsys, tmp_path, answers, key)
        assert (status, out) == (1, "")
        assert said in err

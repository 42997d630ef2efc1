"""``pbx-stir verify``: a verdict on every token, whatever it is, and never a traceback."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx_stir.cli.main import main
from pbx_stir.cli.verify import MOST_TOKENS
from tests.cli.conftest import ALICE, BOB, X5U, Office

FIELDS = {"verdict", "reason", "attest", "orig", "dest", "signer", "rejections"}
NONE = "No-TN-Validation"


class Verifier:
    """Verifies what it is given, from files alone."""

    def __init__(self, office: Office, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.office = office
        self.capsys = capsys
        self.identity = folder / "identity"

    def __call__(self, identity: str | bytes, *options: str) -> tuple[int, dict[str, Any]]:
        """Exit status and the JSON object."""
        status, out, err = self.said(identity, "--json", *options)
        assert err == ""
        found = json.loads(out)
        assert set(found) == FIELDS
        assert out.count("\n") == 1
        assert (status == 0) == (found["verdict"] == "TN-Validation-Passed")
        return status, found

    def said(self, identity: str | bytes, *options: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        octets = identity if isinstance(identity, bytes) else identity.encode()
        self.identity.write_bytes(octets)
        given = ["--identity-file", str(self.identity), "--orig", ALICE, "--dest", BOB]
        given += ["--trust", self.office.trust]
        if "--certificates" not in options and "--x5u-allow" not in options:
            given += ["--certificates", self.office.map]
        self.capsys.readouterr()
        try:
            status = main(["verify", *given, *options])
        except SystemExit as end:
            status = int(str(end.code))
        out, err = self.capsys.readouterr()
        return status, out, err


@pytest.fixture
def verify(office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Verifier:
    """A verifier."""
    return Verifier(office, capsys, tmp_path)


@pytest.mark.parametrize("attest", ["", "A", "B", "C"])
@pytest.mark.parametrize("bare", [False, True])
def test_what_was_signed_verifies(verify: Verifier, attest: str, bare: bool) -> None:
    """Base and shaken, whatever the attestation, as header and as bare token."""
    options = [*(["--attest", attest] if attest else []), *(["--passport"] if bare else [])]
    status, found = verify(verify.office.sign(verify.capsys, *options))
    assert status == 0
    assert found == {
        "verdict": "TN-Validation-Passed",
        "reason": "verified",
        "attest": attest,
        "orig": ALICE,
        "dest": BOB,
        "signer": "alice",
        "rejections": [],
    }


def test_a_provider_vouches_with_an_attestation_only(verify: Verifier) -> None:
    """A provider's code covers a shaken PASSporT; without attestation it is not enough."""
    office = verify.office
    options = ["--key", office.file("provider.key")]
    options += ["--x5u", "https://certificates.example.com/provider.pem"]
    status, found = verify(office.sign(verify.capsys, *options, "--attest", "C"))
    assert (status, found["signer"], found["attest"]) == (0, "1234", "C")
    status, found = verify(office.sign(verify.capsys, *options))
    assert (status, found["reason"], found["verdict"]) == (1, "number-not-covered", NONE)


def test_numbers_may_be_national(verify: Verifier) -> None:
    """With a country code they are read as its people write them; without one as they stand."""
    token = verify.office.sign(verify.capsys)
    national = ["--orig", "(212) 555-1234", "--dest", "310-555-2000"]
    assert verify(token, *national, "--country-code", "1")[0] == 0
    assert verify(token, *national, "--country-code", "+1")[0] == 0
    status, found = verify(token, *national)
    assert (status, found["reason"], found["orig"]) == (1, "orig-mismatch", "2125551234")
    for form in ("+12125551234", "tel:+12125551234", "sip:+12125551234@a.example;user=phone"):
        assert verify(token, "--orig", form)[0] == 0


@pytest.mark.parametrize("number", ["1", "112", "0049", "123456789012345", "00112125551234"])
def test_digits_are_canonical_as_they_stand(verify: Verifier, number: str) -> None:
    """Without a country code 1 to 15 digits are taken for what they are."""
    token = verify.office.sign(verify.capsys, "--dest", number)
    status, found = verify(token, "--dest", number)
    assert (status, found["dest"]) == (0, number)


@pytest.mark.parametrize(
    ("sign", "options", "reason"),
    [
        ([], ["--orig", "12125551235"], "orig-mismatch"),
        ([], ["--dest", "13105552001"], "dest-mismatch"),
        ([], ["--dest", "sip:bob@example.com"], "dest-mismatch"),
        (["--at", "1800000000"], ["--at", "1800000061"], "stale"),
        (["--at", "1800000006"], ["--at", "1800000000"], "future-iat"),
        (["--x5u", "https://certificates.example.com/other.pem"], [], "certificate-unavailable"),
        (["--x5u", "https://certificates.example.com/gone.pem"], [], "certificate-unavailable"),
        (["--x5u", "https://certificates.example.com/zero.pem"], [], "certificate-unavailable"),
        (["--x5u", "https://certificates.example.com/key.pem"], [], "certificate-untrusted"),
        (["--x5u", "http://certificates.example.com/alice.pem"], [], "x5u-refused"),
        (["--x5u", "https://certificates.example.com:444/alice.pem"], [], "x5u-refused"),
        (["--x5u", "https://certificates.example.com/alice.pem?a"], [], "x5u-refused"),
        (["--x5u", "https://u@certificates.example.com/alice.pem"], [], "x5u-refused"),
        (["--x5u", "https://10.0.0.1/alice.pem"], [], "x5u-refused"),
        (["--x5u", "https://certificates.example.com/provider.pem"], [], "number-not-covered"),
        (
            ["--x5u", "https://certificates.example.com/provider.pem", "--attest", "A"],
            [],
            "bad-signature",
        ),
        (["--orig", "12125559999"], ["--orig", "12125559999"], "number-not-covered"),
        (["--at", "1800000000"], ["--at", "1800000000"], "certificate-expired"),
    ],
)
def test_each_reason(verify: Verifier, sign: list[str], options: list[str], reason: str) -> None:
    """What is wrong is named, and the exit status is 1."""
    status, found = verify(verify.office.sign(verify.capsys, *sign), *options)
    assert (status, found["reason"]) == (1, reason)
    assert found["rejections"][0]["reason"] == reason
    failed = reason == "bad-signature" or (reason == "number-not-covered" and "--orig" in sign)
    assert found["verdict"] == ("TN-Validation-Failed" if failed else NONE)


def test_freshness_is_inclusive(verify: Verifier) -> None:
    """60 s old and 5 s ahead still pass; a fraction more does not."""
    now = int(time.time())
    token = verify.office.sign(verify.capsys, "--at", str(now))
    for moment, status in ((now + 60, 0), (now + 60.5, 1), (now - 5, 0), (now - 5.5, 1)):
        assert verify(token, "--at", str(moment))[0] == status


def test_another_anchor(verify: Verifier) -> None:
    """Whom nobody trusts vouches for nothing."""
    other = verify.office.file("other-authority.pem")
    status, found = verify(verify.office.sign(verify.capsys), "--trust", other)
    assert (status, found["reason"]) == (1, "certificate-untrusted")


def test_an_anchor_file_may_have_any_name(verify: Verifier, tmp_path: Path) -> None:
    """Brackets and stars in it are no pattern."""
    path = tmp_path / "[a]*.pem"
    path.write_bytes(Path(verify.office.trust).read_bytes())
    assert verify(verify.office.sign(verify.capsys), "--trust", str(path))[0] == 0


def test_several_tokens(verify: Verifier) -> None:
    """One a line, folded or not, with blank lines; the first valid one decides, all are judged."""
    sign = verify.office.sign
    good, bare = sign(verify.capsys), sign(verify.capsys, "--passport")
    stale = sign(verify.capsys, "--at", "1000000000")
    folded = good.replace(";", "\r\n ;").replace("=<", "\n\t=<")
    status, found = verify(f"\n{stale}\r\njunk\r\n\r\n{folded}\n{bare}  \n")
    assert status == 0
    assert [one["reason"] for one in found["rejections"]] == ["malformed", "stale"]
    status, found = verify(f"{stale}\njunk")
    assert (status, found["reason"]) == (1, "stale")
    assert len(found["rejections"]) == 2
    assert verify("\n".join([bare] * MOST_TOKENS))[0] == 0


@pytest.mark.parametrize("octets", [b"", b"\n\n", b" \r\n"])
def test_nothing_is_no_passport(verify: Verifier, octets: bytes) -> None:
    """An empty file has an answer as well."""
    assert verify(octets) == (
        1,
        {
            "verdict": NONE,
            "reason": "no-passport",
            "attest": "",
            "orig": ALICE,
            "dest": BOB,
            "signer": "",
            "rejections": [],
        },
    )


def test_words_for_people(verify: Verifier) -> None:
    """One line where it passed; --explain says what was wrong and what helps."""
    good = verify.office.sign(verify.capsys, "--attest", "B")
    status, out, err = verify.said(good)
    passed = "TN-Validation-Passed (verified): 12125551234 to 13105552000, signed by alice"
    assert (status, out, err) == (0, f"{passed}, attestation B\n", "")
    status, out, _ = verify.said(f"{good}\njunk\x1b[31m", "--explain")
    assert out.splitlines()[0] == f"{passed}, attestation B"
    assert "  yes  does the signature hold?" in out
    assert "  no   is it a PASSporT, in full form and well-formed?" in out
    assert "\x1b" not in out
    stale = verify.office.sign(verify.capsys, "--at", "1000000000")
    status, out, _ = verify.said(stale, "--explain")
    assert status == 1
    assert out.splitlines()[0] == "No-TN-Validation (stale)"
    assert "  yes  is it signed for a call to the called number?" in out
    assert "  no   was it made within the last 60 s?" in out
    assert "-> older than 60 s: a replay, a slow path, or a clock" in out
    assert "does the signature hold?" not in out


@pytest.mark.parametrize("moment", ["nan", "inf", "-inf", "-1", "1e300", "now", "", "9" * 400])
def test_a_moment_is_a_number_of_seconds(verify: Verifier, moment: str) -> None:
    """ "nan" would be neither too old nor too new."""
    status, out, err = verify.said(b"", f"--at={moment}")
    assert (status, out) == (2, "")
    assert f"--at: {moment[:40]!r} is no time" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--orig", "alice"], "--orig: "),
        (["--orig", "1" * 16], "--orig: "),
        (["--dest", ""], "--dest: "),
        (["--country-code", "x"], "--country-code"),
        (["--trust", "/nonexistent"], "cannot read /nonexistent"),
        (["--trust", "/dev/null"], "--trust: "),
        (["--certificates", "/nonexistent"], "cannot read /nonexistent"),
        (["--certificates", "/"], "cannot read /"),
        (["--identity-file", "/nonexistent"], "cannot read /nonexistent"),
        (["--identity-file", "/"], "cannot read /"),
        (["--x5u-allow", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["--x5u-allow", "a:0"], "no such port"),
        (["--x5u-allow", "a:99999"], "no such port"),
        (["--x5u-allow", "a:999999"], "is not HOST:PORT"),
        (["--x5u-allow", "a:443", "--tls-ca", "/nonexistent"], "/nonexistent"),
        (["--x5u-allow", "a:443", "--tls-ca", "/dev/null"], "/dev/null"),
        (["--x5u-allow", "a:443", "--certificates", "MAP"], "nothing is fetched"),
        (["--tls-ca", "/dev/null", "--certificates", "MAP"], "nothing is fetched"),
    ],
)
def test_wrong_use_is_2(verify: Verifier, options: list[str], said: str) -> None:
    """A file that cannot be read, a number that is none: one line, and no verdict."""
    options = [verify.office.map if one == "MAP" else one for one in options]
    status, out, err = verify.said(b"", *options)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'{"a": 1}', b"\xff", b"[" * 100_000, b"1", b'{"a":' * 50_000],
)
def test_a_map_that_is_none_is_2(verify: Verifier, tmp_path: Path, text: bytes) -> None:
    """It is an object of URLs and file names, or wrong use."""
    path = tmp_path / "map.json"
    path.write_bytes(text)
    status, _, err = verify.said(b"", "--certificates", str(path))
    assert status == 2
    assert str(path) in err


def test_a_mapped_file_is_judged_as_a_fetched_body(verify: Verifier, tmp_path: Path) -> None:
    """Too large, broken, empty or a folder: the certificate is what is missing."""
    token = verify.office.sign(verify.capsys)
    path = tmp_path / "map.json"
    for octets, reason in (
        (bytes(64 * 1024 + 1), "certificate-unavailable"),
        (b"", "certificate-untrusted"),
        (b"junk", "certificate-untrusted"),
        (None, "certificate-unavailable"),
    ):
        name = "." if octets is None else "body.pem"
        if octets is not None:
            (tmp_path / name).write_bytes(octets)
        path.write_text(json.dumps({X5U: name}))
        status, found = verify(token, "--certificates", str(path))
        assert (status, found["reason"]) == (1, reason)


def test_the_work_for_one_file_has_an_end(verify: Verifier) -> None:
    """Of too many tokens the first are judged, and of a file without end the beginning."""
    status, found = verify("x\n" * (MOST_TOKENS + 1))
    assert (status, found["reason"]) == (1, "overloaded")
    assert len(found["rejections"]) == MOST_TOKENS + 1
    status, found = verify("x" * ((1 << 20) + 1))
    assert (status, found["reason"]) == (1, "malformed")


QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


@QUIET
@given(st.binary(max_size=300))
def test_any_octets_have_a_verdict(verify: Verifier, octets: bytes) -> None:
    """Hostile files get exit status 1 and one JSON object."""
    status, found = verify(octets)
    assert status == 1
    assert found["reason"] in {"malformed", "no-passport"}


@QUIET
@given(data=st.data())
def test_a_changed_token_never_passes(verify: Verifier, data: st.DataObject) -> None:
    """Octets replaced, removed, put in, doubled: it passes only if it says the same."""
    token = _tokens(verify)[data.draw(st.integers(0, 3))]
    mutated = bytearray(token.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated)))
        piece = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b".", b";", b"=", b'"', b"\n"]))
        )
        mutated[at : at + data.draw(st.integers(0, 3))] = piece
    status, found = verify(bytes(mutated))
    if status == 0:
        # blanks and parameters that nobody knows may change, what was signed may not
        kept = token.partition(";")[0]
        assert kept in "".join(mutated.decode("latin-1").split("\n"))
    else:
        assert found["verdict"] != "TN-Validation-Passed"


def _tokens(verify: Verifier) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(verify, "tokens", ())
    if not found:
        sign = verify.office.sign
        kinds = (["--passport"], [], ["--attest", "A"], ["--attest", "A", "--passport"])
        found = tuple(sign(verify.capsys, *kind) for kind in kinds)
        verify.tokens = found  # type: ignore[attr-defined]
    return found


def test_the_working_folder_does_not_matter(
    verify: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths in the map are relative to the map."""
    token = verify.office.sign(verify.capsys)
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.chdir(folder)
        assert verify(token)[0] == 0
        assert verify(token, "--certificates", os.path.relpath(verify.office.map))[0] == 0

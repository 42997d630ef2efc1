"""``pbx-stir advertise`` writes what its readers believe."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lab.companies import Authority
from pbx_stir.certificates.anchors import load
from pbx_stir.cli.main import main
from pbx_stir.stir.advertisement import check_signed, parse_advertisement, parse_signed
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.tnauthlist import TnAuthList

CPS, BARE = "https://cps.example.com:8443", "https://cps.example.com:9443"
RANGE = TnAuthList(ranges=(("12125551200", 100),))
OTHER = TnAuthList(spcs=("1234",), numbers=("13105552000",))


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A configuration with two credentials, and numbers of both."""
    authority = Authority.new(tmp_path, "Lab Authority")
    text = ""
    for name, listed in (("one", RANGE), ("two", OTHER)):
        certificate, key = authority.issue(tmp_path, name, listed)
        text += f"""
[[credential]]
certificate = "{certificate.name}"
key = "{key.name}"
x5u = "https://cert.example.com/{name}.pem"
"""
    text += f"""
[publish]
numbers = ["+12125551200-+12125551249", "+12125551299", "+13105552000", "+19995550000"]
cps = ["{CPS}", "https://second.example.com"]
bare_cps = ["{BARE}"]
"""
    (tmp_path / "pbx-stir.toml").write_text(text)
    return tmp_path / "pbx-stir.toml"


def advertise(office: Path, *words: str) -> int:
    """Run the command."""
    return main(["advertise", "--config", str(office), *words])


def test_a_signed_one_is_believed(office: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a credential, each for what it covers of our numbers, until its end."""
    assert advertise(office) == 0
    first, second = (parse_signed(line) for line in capsys.readouterr().out.split())
    assert first.advertisement.pairs() == {"1-12125551200-50": CPS, "2-12125551299": CPS}
    assert second.advertisement.pairs() == {"2-13105552000": CPS}
    assert first.exp - first.iat == 7 * 86_400
    anchors = load([str(office.parent / "lab-authority.pem")])
    for signed in (first, second):
        assert check_signed(signed, anchors, time.time(), SpcPolicy())


def test_codes_are_added_where_asked(office: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider's code goes with the credential that lists it."""
    assert advertise(office, "--codes", "--days", "31") == 0
    first, second = (parse_signed(line) for line in capsys.readouterr().out.split())
    assert "0-1234" not in first.advertisement.pairs()
    assert second.advertisement.pairs() == {"0-1234": CPS, "2-13105552000": CPS}
    anchors = load([str(office.parent / "lab-authority.pem")])
    assert check_signed(second, anchors, time.time(), SpcPolicy())


def test_an_unsigned_one_is_the_rfcs_object(office: Path, tmp_path: Path) -> None:
    """Written into a file it is there whole, and is what RFC 9888 shows."""
    out = tmp_path / "advertisement.json"
    out.write_text("old")
    assert advertise(office, "--unsigned", "--bare", "--codes", "--out", str(out)) == 0
    assert json.loads(out.read_text()) == {
        "0-1234": BARE,
        "1-12125551200-50": BARE,
        "2-12125551299": BARE,
        "2-13105552000": BARE,
    }
    assert len(parse_advertisement(out.read_bytes())) == 4
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_many_ranges_are_one_advertisement(
    office: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However many numbers a credential has, it signs once: of one signer one serial counts."""
    numbers = ", ".join(f'"+{12125551200 + 2 * at}"' for at in range(50))
    more = ", ".join(f'"+{13105553000 + 2 * at}"' for at in range(80))
    listed = TnAuthList(ranges=(("12125551200", 100), ("13105553000", 200)))
    certificate, key = Authority.new(office.parent, "Other").issue(office.parent, "big", listed)
    office.write_text(f"""
[[credential]]
certificate = "{certificate.name}"
key = "{key.name}"
x5u = "https://cert.example.com/big.pem"
[publish]
numbers = [{numbers}, {more}]
cps = ["{CPS}"]
""")
    assert advertise(office) == 0
    (line,) = capsys.readouterr().out.split()
    assert len(parse_signed(line).advertisement) == 130


@pytest.mark.parametrize(
    ("text", "words", "status", "said"),
    [
        ("", [], 1, "publish.cps"),
        ("", ["--bare"], 1, "publish.bare_cps"),
        (f'[publish]\ncps=["{CPS}"]', [], 1, "publish.numbers"),
        (f'[publish]\ncps=["{CPS}"]\nnumbers=["+15"]', [], 1, "no credential"),
        ("", ["--days", "0"], 2, "0 days"),
        ("", ["--days", "32"], 2, "32 days"),
    ],
)
def test_what_cannot_be_advertised_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    words: list[str],
    status: int,
    said: str,
) -> None:
    """File and key, and nothing on standard output."""
    file = tmp_path / "pbx-stir.toml"
    file.write_text(text)
    assert advertise(file, *words) == status
    streams = capsys.readouterr()
    assert (streams.out, said in streams.err) == ("", True)


def test_a_place_that_cannot_be_written_is_said(
    office: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there is named."""
    assert advertise(office, "--out", str(office.parent / "none" / "a")) == 2
    assert "cannot write" in capsys.readouterr().err

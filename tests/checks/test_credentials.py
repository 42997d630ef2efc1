"""Certificates, keys, and the numbers that they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.companies import Authority
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.checks.setups import DAY, NOW, Setup, files_of


def test_keys(setup: Setup) -> None:
    """One that everybody may read, one of another certificate, none."""
    key = setup.folder / "acme.key"
    key.chmod(0o644)
    assert setup.offline() == ["key-readable-by-all"]
    key.chmod(0o600)
    key.write_bytes(Path(setup.office.file("alice.key")).read_bytes())
    assert setup.offline() == ["key-mismatch"]
    key.unlink()
    assert setup.offline() == ["file-unreadable"]
    setup.change('x5u = "https:', 'x5u = "http:')
    setup.certify(setup.company.numbers)
    assert setup.offline() == ["credential-wrong"]


def test_one_credential_that_is_wrong_hides_no_other(setup: Setup) -> None:
    """Each has findings of its own."""
    table = '\n[[credential]]\ncertificate = "{}"\nkey = "acme.key"\nx5u = "http://a.example/a"\n'
    setup.append(table.format("none.pem") + table.format("acme.pem"))
    assert setup.offline() == ["file-unreadable", "credential-wrong"]


def test_times(setup: Setup) -> None:
    """A certificate for seven days, a day old, looked at from before to after."""
    assert setup.offline(NOW - 2 * DAY) == ["certificate-not-yet-valid"]
    assert setup.offline(NOW + 8 * DAY) == ["certificate-expired"]
    for days, severity in ((5.5, "error"), (4, "warning")):
        [found] = files_of(setup.loaded, NOW + days * DAY)
        assert (found.code, found.severity.value) == ("certificate-expires", severity)
    # a certificate that is made for a week is renewed within the week
    assert setup.offline(NOW + 3 * DAY) == []


def test_whom_it_is_from(setup: Setup, tmp_path: Path) -> None:
    """A foreign authority's would not pass with us; a provider's code is for any number."""
    setup.certify(setup.company.numbers, Authority.new(tmp_path, "Foreign"))
    assert setup.offline() == ["certificate-untrusted-here"]
    setup.certify(TnAuthList(spcs=("1234",)))
    assert setup.offline() == []


def test_numbers_of_which_some_are_covered(setup: Setup) -> None:
    """None, the half of a range, one of two; a trunk without any."""
    first = setup.company.first
    setup.certify(TnAuthList(ranges=(("13105552000", 100),)))
    assert setup.offline() == ["numbers-not-covered", "publish-wrong"]
    setup.certify(TnAuthList(ranges=((first, 50),)))
    [found] = files_of(setup.loaded)
    assert found.code == "numbers-partly-covered"
    assert f"+{first}-" in found.what
    setup.certify(setup.company.numbers)
    setup.change('country_code = "1"\nnumbers = [', 'country_code = "1"\nnumbers = ["+4420", ')
    [found] = files_of(setup.loaded)
    assert (found.code, "+4420:" in found.what) == ("numbers-partly-covered", True)
    setup.change('"+4420", ', f'"+{first[:6]}*", ')
    assert setup.offline() == []
    setup.change("[[trunk]]", '[[trunk]]\nname = "other"\n[[trunk]]')
    assert setup.offline() == ["trunk-without-numbers"]


@pytest.mark.parametrize("prefix", ["+1212*", "+1999*"])
def test_prefixes(setup: Setup, prefix: str) -> None:
    """Of a prefix it is enough that some number is covered."""
    setup.change('country_code = "1"\nnumbers = [', f'country_code = "1"\nnumbers = ["{prefix}", ')
    assert setup.offline() == ([] if prefix == "+1212*" else ["numbers-partly-covered"])

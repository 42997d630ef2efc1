"""Whom we trust: each certificate among the anchors, and revocation lists."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab.companies import Authority
from pbx_stir.certificates import issuing
from tests.checks.setups import DAY, NOW, Setup, files_of


def root(path: Path, name: str, begins: float, days: float) -> Path:
    """The certificate of an authority."""
    certificate, _ = issuing.new_root(name, begins, days)
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def test_no_anchor(setup: Setup) -> None:
    """Nothing can be verified then."""
    text = setup.company.config.read_text().splitlines()
    kept = [line for line in text if not line.startswith("trust = ")]
    setup.company.config.write_text("\n".join(kept))
    assert setup.offline() == ["no-anchors"]


@pytest.mark.parametrize("text", ["", "junk", "-----BEGIN PRIVATE KEY-----\nx\n"])
def test_a_file_that_is_none(setup: Setup, text: str) -> None:
    """It does not matter what else it is."""
    (setup.folder / "other.pem").write_text(text)
    setup.change('trust = ["', 'trust = ["other.pem", "')
    assert setup.offline() == ["anchors-wrong"]
    setup.change('"other.pem"', '"missing.pem"')
    assert setup.offline() == ["anchors-wrong"]


def test_a_leaf_is_no_anchor(setup: Setup) -> None:
    """The certificate that was issued, where that of its issuer belongs."""
    setup.change('trust = ["', 'trust = ["acme.pem", "')
    [found] = files_of(setup.loaded)
    assert found.code == "anchor-not-authority"
    assert "acme" in found.what


def test_an_anchor_that_is_there_twice(setup: Setup) -> None:
    """Works, and is good to know."""
    (setup.folder / "again.pem").write_bytes(setup.office.authority.anchor.read_bytes())
    setup.change('trust = ["', 'trust = ["again.pem", "')
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == ("anchor-twice", "note")


def test_the_time_of_anchors(setup: Setup) -> None:
    """One that has ended beside one that has not, one that ends soon, and all of them ended."""
    old = root(setup.folder / "old.pem", "Old Authority", NOW - 400 * DAY, 300)
    setup.change('trust = ["', 'trust = ["old.pem", "')
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == ("anchor-expired", "warning")
    assert "'Old Authority' ended 100.0 days ago" in found.what
    root(old, "Old Authority", NOW - 400 * DAY, 420)
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == ("anchor-expires", "warning")
    late = files_of(setup.loaded, NOW + 40 * DAY)
    ended = [one for one in late if one.code == "anchor-expired"]
    assert [one.severity.value for one in ended] == ["error", "error"]


def test_a_short_lived_anchor_is_renewed_late(setup: Setup, tmp_path: Path) -> None:
    """Thirty days before its end is early for one that lives thirty."""
    Authority.new(tmp_path, "Short Authority")
    assert setup.offline(time.time()) == []


@pytest.mark.parametrize(
    "line", ['crls = ["/nonexistent/*.crl"]', 'crls = ["ftp://x"]', 'crl_signers = ["nope.pem"]']
)
def test_what_the_service_would_not_start_with_is_found(setup: Setup, line: str) -> None:
    """Revocation lists that are not there, or no URL that is fetched."""
    setup.change("[verification]", f"[verification]\n{line}")
    assert setup.offline() == ["revocation-wrong"]

"""``pbx-stir fetch --config`` beside a CPS that gives a number's entries to its holder alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.companies import Authority, Company, tls_certificate
from pbx_stir.cli.main import main
from tests.cli.conftest import running


def test_a_holder_sees_his_own_entries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration's CAs and credential are used: what was stored is opened and printed."""
    authority = Authority.new(tmp_path, "Office Authority")
    certificate, key, ca = tls_certificate(tmp_path, "cps", ["127.0.0.1"])
    cps_config = tmp_path / "cps.toml"
    cps_config.write_text(
        f'state_dir = "cps-state"\n[cps]\ntokens = false\nretrieval = "holders"\n'
        f'trust = ["{authority.anchor}"]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    )
    company = Company("acme", "12125551200", 100, tmp_path / "acme")
    for url in running(["--config", str(cps_config)], tmp_path):
        company.configure(
            authority=authority, trust=authority.anchor, cps=url, cps_ca=ca, routes=[], pbxs=[]
        )
        config = str(company.config)
        assert main(["keys", "publish", "--config", config]) == 0
        token = tmp_path / "token"
        signed = ["--key", str(company.folder / "acme.key"), "--x5u", "https://a.example/a.pem"]
        capsys.readouterr()
        numbers = ["--orig", "12125551201", "--dest", "12125551202"]
        assert main(["sign", *numbers, *signed, "--passport"]) == 0
        token.write_text(capsys.readouterr().out)
        there = ["--cps", url, "--dest", "12125551202"]
        assert main(["store", *there, "--tls-ca", str(ca), str(token)]) == 0
        assert main(["store", *there, "--config", config, str(token)]) == 0
        capsys.readouterr()
        assert main(["fetch", *there, "--config", config]) == 0
        said = capsys.readouterr()
        assert set(said.out.splitlines()) == {token.read_text().strip()}
        assert "2 opened" in said.err

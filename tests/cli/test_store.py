"""``pbx-stir store`` and ``fetch`` beside a real call placement service."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lab.companies import Company
from pbx_stir.cli import store
from pbx_stir.cli.main import main
from tests.cli.conftest import BOB, X5U, Cps, Office, running


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str, str]:
    """Files: a private key, its public half in PEM and in base64url."""
    key = X25519PrivateKey.generate()
    private, pem, text = (tmp_path / name for name in ("private.pem", "public.pem", "public"))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = key.public_key()
    pem.write_bytes(
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    text.write_bytes(base64.urlsafe_b64encode(public.public_bytes_raw()).rstrip(b"=") + b"\n")
    return str(private), str(pem), str(text)


@pytest.fixture
def token(office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> tuple[str, str]:
    """A PASSporT from Alice to Bob, and its file."""
    said = office.sign(capsys, "--passport")
    path = tmp_path / "token"
    path.write_text(said + "\n")
    return said, str(path)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    capsys.readouterr()
    try:
        status = main(list(arguments))
    except SystemExit as end:
        status = int(str(end.code))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.out, said.err


@pytest.mark.parametrize("cps", ["plain", "secure"])
@pytest.mark.parametrize("form", [1, 2])
def test_what_was_stored_is_fetched(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    keys: tuple[str, str, str],
    token: tuple[str, str],
    cps: str,
    form: int,
) -> None:
    """Over TLS and without, sealed to a key in PEM or base64, for that number alone."""
    at: Cps = request.getfixturevalue(cps)
    number = f"1310555300{form}"
    given = ["--dest", number, "--public-key", keys[form], token[1]]
    status, out, err = command(capsys, "store", *at, *given)
    assert (status, out) == (0, f"{at[1]}: stored\n")
    assert f"note: the PASSporT is not for {number}" in err
    opening = ["fetch", *at, "--private-key", keys[0]]
    status, out, err = command(capsys, *opening, "--dest", f"+{number}")
    assert (status, out) == (0, token[0] + "\n")
    assert "1 opened" in err
    status, out, err = command(capsys, *opening, "--dest", BOB)
    assert (status, out) == (1, "")
    assert "0 opened" in err
    status, out, err = command(capsys, "fetch", *at, "--dest", number)
    assert (status, out) == (0, "")
    assert "entries, dummies among them" in err


def test_keys_come_from_records(
    office: Office,
    secure: Cps,
    capsys: pytest.CaptureFixture[str],
    token: tuple[str, str],
    tmp_path: Path,
) -> None:
    """Without --public-key it is sealed to what the number's owner published; he can open it."""
    status, _, err = command(capsys, "store", *secure, "--dest", BOB, token[1])
    assert status == 1
    assert f"has no key for {BOB} (give one with --public-key)" in err
    bob = Company("bob", "13105552000", 100, tmp_path / "bob")
    bob.configure(
        authority=office.authority,
        trust=office.authority.anchor,
        cps=secure[1],
        cps_ca=Path(secure[3]),
        routes=["1"],
        pbxs=[],
    )
    config = ["--config", str(bob.config)]
    assert command(capsys, "fetch", *secure, "--dest", BOB, *config)[0] == 1
    assert command(capsys, "keys", "publish", *config)[0] == 0
    given = ["--certificate", office.file("alice.pem"), token[1]]
    status, out, err = command(capsys, "store", *secure, "--dest", BOB, *given)
    assert (status, out, err) == (0, f"{secure[1]}: stored\n", "")
    status, out, _ = command(capsys, "fetch", *secure, "--dest", BOB, *config)
    assert (status, out) == (0, token[0] + "\n")


def test_a_cps_that_wants_tokens_says_so(
    capsys: pytest.CaptureFixture[str],
    keys: tuple[str, str, str],
    token: tuple[str, str],
    tmp_path: Path,
) -> None:
    """401 is not stored: exit status 1, and why."""
    for url in running(["--no-tls"], tmp_path):
        given = ["--dest", BOB, "--public-key", keys[1], token[1]]
        status, out, _ = command(capsys, "store", "--cps", url, *given)
    assert status == 1
    assert out.startswith(f"{url}: no-tokens: status 401")


def test_a_configuration_has_tokens(
    office: Office, capsys: pytest.CaptureFixture[str], token: tuple[str, str], tmp_path: Path
) -> None:
    """With --config a token is obtained where the wallet has none, and taken from it afterwards;
    keys come from records that the configuration's anchors stand behind, and no others."""
    (tmp_path / "cps").mkdir()
    cps_config = tmp_path / "cps.toml"
    cps_config.write_text(f'state_dir = "cps"\n[cps]\ntrust = ["{office.trust}"]\n')
    bob = Company("bob", "13105552000", 100, tmp_path / "bob")
    stranger = Company("stranger", "13105552000", 100, tmp_path / "stranger")
    for url in running(["--no-tls", "--config", str(cps_config)], tmp_path):
        for company, trust in ((bob, office.trust), (stranger, office.file("other-authority.pem"))):
            company.configure(
                authority=office.authority,
                trust=Path(trust),
                cps=url,
                cps_ca=Path(office.trust),
                routes=["1"],
                pbxs=[],
            )
            text = company.config.read_text()
            company.config.write_text(
                text.replace("[outgoing]", "[outgoing]\nplain_loopback = true")
            )
        assert command(capsys, "keys", "publish", "--config", str(bob.config))[0] == 0
        given = ["--cps", url, "--dest", BOB, "--config"]
        notes = []
        for _ in range(2):
            status, out, err = command(capsys, "store", *given, str(bob.config), token[1])
            assert (status, out) == (0, f"{url}: stored\n"), err
            notes.append(err)
        assert notes[0].startswith("note: 32 storage tokens obtained just now")
        assert notes[1] == ""
        status, _, err = command(capsys, "store", *given, str(stranger.config), token[1])
        assert status == 1
        assert "that may be used" in err


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "https://127.0.0.1:1", "nonsense", "http://192.0.2.1", "https://a b"],
)
def test_a_cps_that_is_not_there(
    capsys: pytest.CaptureFixture[str],
    keys: tuple[str, str, str],
    token: tuple[str, str],
    url: str,
) -> None:
    """Nobody listens, plain http to the network, no URL: exit status 1 and one line."""
    given = ["--cps", url, "--dest", BOB]
    status, out, err = command(capsys, "store", *given, "--public-key", keys[1], token[1])
    assert (status, err) == (1, "")
    assert out.startswith(f"{url}: cps-unavailable: ")
    for arguments in (["store", *given, token[1]], ["fetch", *given]):
        status, out, err = command(capsys, *arguments)
        assert (status, out) == (1, "")
        assert err.startswith(f"pbx-stir {arguments[0]}: ")


def test_tls_is_checked(
    secure: Cps, capsys: pytest.CaptureFixture[str], keys: tuple[str, str, str]
) -> None:
    """Without its CA a CPS is nobody."""
    status, _, err = command(capsys, "fetch", *secure[:2], "--dest", BOB)
    assert status == 1
    assert "tls" in err


def test_wrong_use_is_2(
    office: Office,
    plain: Cps,
    capsys: pytest.CaptureFixture[str],
    keys: tuple[str, str, str],
    token: tuple[str, str],
    tmp_path: Path,
) -> None:
    """Files that are not what they should be: named, and nothing is stored."""
    junk = tmp_path / "junk"
    junk.write_bytes(b"\xff\x00 junk")
    small = tmp_path / "small-order"
    small.write_bytes(base64.b64encode(bytes(32)))
    ec = office.file("alice.key")
    store_to = ["store", *plain, "--dest", BOB]
    fetch = ["fetch", *plain, "--dest", BOB]
    for arguments, said in (
        ([*store_to, str(junk)], f"{junk}: "),
        ([*store_to, str(tmp_path / "none")], "cannot read"),
        ([*store_to, "--public-key", str(junk), token[1]], "no X25519 public key"),
        ([*store_to, "--public-key", keys[0], token[1]], "no X25519 public key"),
        ([*store_to, "--public-key", str(small), token[1]], "small order"),
        ([*store_to, "--public-key", keys[1], "--certificate", str(junk), token[1]], f"{junk}: "),
        ([*store_to, "--tls-ca", str(junk), "--public-key", keys[1], token[1]], "CA certificates"),
        (["store", *plain, "--dest", "bob", token[1]], "--dest: "),
        ([*fetch, "--private-key", str(junk)], "no unencrypted private key"),
        ([*fetch, "--private-key", ec], "not an X25519 key"),
        ([*fetch, "--private-key", str(tmp_path / "none")], "cannot read"),
        ([*fetch, "--private-key", keys[0], "--config", str(junk)], "not allowed with"),
        ([*fetch, "--tls-ca", str(tmp_path / "none")], "CA certificates"),
    ):
        status, out, err = command(capsys, *arguments)
        assert (status, out) == (2, ""), arguments
        assert said.lower() in err.lower()
    status, _, err = command(capsys, *fetch, "--config", str(junk))
    assert status == 1
    assert "not TOML" in err


def test_too_large_is_wrong_use(
    office: Office,
    plain: Cps,
    capsys: pytest.CaptureFixture[str],
    keys: tuple[str, str, str],
    tmp_path: Path,
) -> None:
    """One size holds everything: what does not fit is refused, and said."""
    path = tmp_path / "large"
    path.write_text(office.sign(capsys, "--x5u", X5U + "/" + "a" * 1800, "--passport"))
    from pbx_stir.stir import passport

    token = passport.parse(path.read_text())
    from pbx_stir.certificates import issuing

    large = passport.sign(
        orig=token.orig,
        dest=token.dest,
        iat=token.iat,
        x5u=token.x5u,
        key=issuing.new_key(),
        extra={"x": "a" * 3000},
    )
    path.write_text(large.token)
    arguments = ["store", *plain, "--dest", BOB, "--public-key", keys[1], str(path)]
    status, _, err = command(capsys, *arguments)
    assert status == 2
    assert "pbx-stir store: " in err


def test_a_broken_record_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: tuple[str, str],
    plain: Cps,
) -> None:
    """What a CPS says of keys may be anything."""

    class Hostile:
        """A CPS with a record that is none."""

        async def get_records(self, *_: object) -> tuple[str, ...]:
            """Junk."""
            return ("junk",)

        async def close(self) -> None:
            """Nothing is held."""

    monkeypatch.setattr(store, "client_of", lambda _: Hostile())
    status, _, err = command(capsys, "store", *plain, "--dest", BOB, token[1])
    assert status == 1
    assert "a record that cannot be read: " in err
    assert "has no key for" in err

"""Where CPSs are and how they are spoken to, as the configuration says it (RFC 9888)."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.companies import tls_certificate
from pbx_stir import config, configured
from pbx_stir.config import Loaded
from pbx_stir.directory.routes import Sealing
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir.advertisement import Advertisement
from pbx_stir.stir.certificate import Anchors

A, B, C = (f"https://{name}.example.net" for name in "abc")


def load(folder: Path, text: str) -> Loaded:
    """``text`` as a configuration file, loaded."""
    path = folder / "pbx-stir.toml"
    path.write_text(text)
    return config.load(path)


def anchors() -> Anchors:
    """Nobody."""
    return Anchors.of([])


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A public key's file."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_only_a_route_may_say_unsealed(tmp_path: Path) -> None:
    """``sealing`` is required unless a route says none, and a submission signed unless open."""
    text = f"""
[[route]]
prefix = "+1"
cps = ["{A}"]
[[route]]
prefix = "+2"
cps = ["{B}"]
sealing = "none"
submission = "open"
[publish]
numbers = ["+15*"]
bare_cps = ["{C}:9443"]
"""
    routes = configured.routes(load(tmp_path, text))
    sealed, bare = routes.route("12"), routes.route("22")
    assert sealed is not None
    assert bare is not None
    assert (sealed.sealing, bare.sealing) == (Sealing.REQUIRED, Sealing.NONE)
    assert routes.bare_cps == {B, f"{C}:9443"}
    assert routes.unsigned_cps() == {B}
    assert routes.own_cps("150") == (f"{C}:9443",)
    assert configured.egress(routes).origins == {
        ("a.example.net", 443),
        ("b.example.net", 443),
        ("c.example.net", 9443),
    }
    assert configured.published(load(tmp_path, text), ()) == ()


async def test_advertisements_come_from_files_and_urls(tmp_path: Path) -> None:
    """A relative path is of the configuration's folder, and each source has its signer."""
    (tmp_path / "partners.json").write_bytes(Advertisement({"2-15": A}).encode())
    (tmp_path / "pinned.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    text = """
[[advertisement]]
source = "partners.json"
signed_by = "nobody"
[[advertisement]]
source = "https://127.0.0.1:1/all"
[[advertisement]]
source = "none.jws"
signed_by = "pinned.pem"
"""
    found, close = configured.advertisements(load(tmp_path, text), anchors)
    assert found is not None
    assert close is not None
    await found.load_all()
    await close()
    assert found.cps("15") == (A,)
    assert len(found.failures()) == 2
    assert configured.advertisements(load(tmp_path, ""), anchors) == (None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[advertisement]]\nsource="http://a.example"', "advertisement[0].source"),
        ('[[advertisement]]\nsource="https://a.example?x"', "advertisement[0].source"),
        ('[[advertisement]]\nsource="a"\nsigned_by="missing.pem"', "advertisement[0].signed_by"),
        ('[[advertisement]]\nsource="a"\nsigned_by="wrong.pem"', "advertisement[0].signed_by"),
        ('[[advertisement]]\nsource="a"\nsigned_by="p384.pem"', "advertisement[0].signed_by"),
        ('[[advertisement]]\nsource="https://a.example"\ntls_ca="x"', "advertisement[0].tls_ca"),
    ],
)
def test_wrong_sources_are_named(tmp_path: Path, text: str, said: str) -> None:
    """File and key are said."""
    (tmp_path / "wrong.pem").write_text("x")
    (tmp_path / "p384.pem").write_bytes(pem(ec.generate_private_key(ec.SECP384R1())))
    with pytest.raises(ConfigurationError, match=r"pbx-stir\.toml") as error:
        configured.advertisements(load(tmp_path, text), anchors)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "text", ['suffix=""', 'suffix="a b"', 'suffix="a.b"\nservice="x"', 'suffix="a.b"\n'
             'nameservers=["ns.example"]']
)  # fmt: skip
def test_wrong_trees_are_named(tmp_path: Path, text: str) -> None:
    """A suffix, service or name server that is none is a mistake, not a tree nobody asks."""
    with pytest.raises(ConfigurationError, match="enum"):
        configured.enum(load(tmp_path, f"[enum]\n{text}"))


async def test_a_tree_is_asked_only_where_one_is_named(tmp_path: Path) -> None:
    """Without a suffix there is no ENUM, whatever else is said."""
    assert configured.enum(load(tmp_path, '[enum]\nservice="E2U+x"')) is None
    found = configured.enum(
        load(tmp_path, '[enum]\nsuffix="a.b"\nnameservers=["192.0.2.1", "[2001:db8::1]:5353"]')
    )
    assert found is not None
    await found.close()


def test_a_certificate_is_shown_where_one_is_named(tmp_path: Path) -> None:
    """Both files or none; a key that everybody may read is refused."""
    assert configured.bare_tls(load(tmp_path, "")) is None
    certificate, key, _ = tls_certificate(tmp_path, "office", ["localhost"])
    text = f'[outgoing]\nbare_certificate="{certificate}"\n'
    with pytest.raises(ConfigurationError, match="go together"):
        configured.bare_tls(load(tmp_path, text))
    loaded = load(tmp_path, f'{text}bare_key="{key}"')
    key.chmod(0o600)
    assert configured.bare_tls(loaded) is not None
    key.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to everyone"):
        configured.bare_tls(loaded)
    wrong = load(tmp_path, '[outgoing]\nbare_certificate="pbx-stir.toml"\nbare_key="k"')
    (tmp_path / "k").write_text("x")
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(ConfigurationError, match="bare_certificate"):
        configured.bare_tls(wrong)

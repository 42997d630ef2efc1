"""Beside Asterisk's own in-band signing: one Identity header is on the wire, not two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab import asterisk_files
from lab.asterisk import Instance, Trunk
from pbx_stir.certificates import issuing
from pbx_stir.services.call import Call
from tests.pbx.scene import EXTENSIONS, Desk, calling, listening
from tests.pbx.software import software_of
from tests.pbx.test_in_band import FIRST, _headers

pytestmark = pytest.mark.pbx

ORIG, DEST = "12125550100", "16465550171"


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An Asterisk 22 whose res_stir_shaken signs every call that leaves."""
    software = software_of("forky")
    folder: Path = tmp_path_factory.mktemp("signing")
    key = issuing.new_key()
    (folder / "own.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    pbx = Instance(
        software,
        folder / "pbx",
        "signing",
        extensions=EXTENSIONS,
        modules=asterisk_files.STIR_SHAKEN_MODULES,
    )
    pbx.trunks.append(Trunk("itself", pbx.host, pbx.sip_port, "from-sip"))
    pjsip = asterisk_files.pjsip_conf(pbx.host, pbx.sip_port, "signing", pbx.trunks)
    profile = "type=endpoint\nstir_shaken_profile=own\n"
    pbx.files["pjsip.conf"] = pjsip.replace("type=endpoint\n", profile)
    pbx.files["stir_shaken.conf"] = f"""
[attestation]
private_key_file = {folder}/own.key
public_cert_url = https://own.example/certificate.pem
attest_level = A
check_tn_cert_public_url = no
[own]
type = profile
endpoint_behavior = attest
[{ORIG}]
type = tn
"""
    with pbx:
        yield pbx


async def _arrived(signing: Instance, context: str, headers: list[tuple[str, str]]) -> Call:
    desk = Desk(headers=[headers])
    async with calling(signing) as caller, listening(signing, desk):
        await caller.place(context, DEST)
        await caller.seen(DEST)
    return desk.calls[-1]


async def test_asterisk_signs_by_itself(signing: Instance) -> None:
    """The setting does what the next test needs: with nothing of ours, its header is there."""
    call = await _arrived(signing, "in-band", [])
    assert len(call.identity) == 1
    assert "own.example" in call.identity[0]


async def test_ours_stands_alone(signing: Instance) -> None:
    """With a header of ours Asterisk's own is left out."""
    call = await _arrived(signing, "in-band", _headers(FIRST))
    assert call.identity == (FIRST,)

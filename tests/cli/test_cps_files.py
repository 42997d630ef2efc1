"""What ``pbx-stir cps`` keeps over a restart, reads again on SIGHUP, and whom it believes."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.companies import tls_certificate
from lab.processes import Service
from pbx_stir.cli import cps
from pbx_stir.cps.client import CpsClient
from pbx_stir.directory.resolver import Resolver
from pbx_stir.directory.routes import Route, Routes
from pbx_stir.errors import ConfigurationError, CpsRefused
from pbx_stir.services.call import Reason
from pbx_stir.stir import credential, sealing
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.record import EncryptionKey, Record, sign_record
from tests.cli.conftest import ALICE, BOB, X5U, Office
from tests.cli.test_cps import arguments
from tests.stir import revoking
from tests.stir.conftest import DAY, Issued

URL = "https://cps.example.net"


@dataclass
class Place:
    """A folder with the configuration and files of a CPS."""

    folder: Path
    office: Office

    def write(self, *lines: str, spc_table: str = "") -> Path:
        """Its configuration; anchors, certificate and key are copies that a test may change."""
        certificate, key, ca = tls_certificate(self.folder, "cps", ["127.0.0.1"])
        self.ca = ca
        shutil.copy(self.office.trust, self.folder / "anchor.pem")
        config = self.folder / "cps.toml"
        config.write_text(
            "\n".join(
                (
                    'state_dir = "state"',
                    "[verification.spc_table]",
                    spc_table,
                    "[cps]",
                    "tokens = false",
                    'trust = ["anchor.pem"]',
                    f'certificate = "{certificate.name}"',
                    f'key = "{key.name}"',
                    *lines,
                )
            )
        )
        return config

    def lists(self, *serials: int) -> None:
        """Write the authority's revocation list."""
        now = time.time()
        issuer = Issued(self.office.authority.certificate, self.office.authority.key)
        body = revoking.crl(issuer, serials, this_update=now - 60, next_update=now + DAY)
        (self.folder / "all.crl").write_bytes(body)

    def signer(self, name: str) -> Credential:
        """One of the office's credentials."""
        certificate, key = (Path(self.office.file(f"{name}.{end}")) for end in ("pem", "key"))
        return credential.load(certificate.read_bytes(), key.read_bytes(), x5u=X5U)


@pytest.fixture
def place(tmp_path: Path, office: Office) -> Place:
    """An empty folder."""
    return Place(tmp_path, office)


def token(signer: Credential, serial: int, *numbers: str, hours: float = 24) -> str:
    """A record with a fresh key."""
    key = EncryptionKey(sealing.public_octets(sealing.new_private_key()))
    now = int(time.time())
    return sign_record(
        Record(numbers or (ALICE,), (URL,), (key,), serial, now, now + int(3600 * hours)), signer
    )


def listening(service: Service) -> str:
    """Wait until it listens; its URL."""
    service.wait_until(lambda: "listening on http" in service.said, "listening")
    return service.said.rpartition("listening on ")[2].split()[0]


@asynccontextmanager
async def client_of(place: Place) -> AsyncIterator[CpsClient]:
    """A client that trusts the CPS."""
    client = CpsClient(tls=ssl.create_default_context(cafile=place.ca))
    try:
        yield client
    finally:
        await client.close()


def soon() -> float:
    """Time enough."""
    return time.monotonic() + 20


async def test_a_killed_cps_takes_no_older_record_again(place: Place) -> None:
    """What it gave out it gives out again, and an older serial stays refused."""
    config = place.write()
    alice = place.signer("alice")
    newest = token(alice, 7)
    service = Service(
        "cps", ["cps", "--listen", "127.0.0.1:0", "--config", str(config)], place.folder
    )
    async with client_of(place) as client:
        with service:
            url = listening(service)
            await client.put_record(url, ALICE, newest, soon())
            service.kill()
            service.log.unlink()
            service.start()
            url = listening(service)
            assert await client.get_records(url, ALICE, soon()) == (newest,)
            with pytest.raises(CpsRefused) as refused:
                await client.put_record(url, ALICE, token(alice, 6), soon())
            assert refused.value.status == 409
            assert await client.get_records_under(url, ALICE[:-4], soon()) == ((newest,), True)
            assert service.stop() == 0
    mode = (place.folder / "state" / "records.sqlite").stat().st_mode
    assert mode & 0o077 == 0


async def test_sighup_reads_files_again(place: Place) -> None:
    """TLS certificate, anchors and revocation lists; a mistake leaves what was in force, and the
    others are read all the same."""
    place.lists()
    config = place.write('crls = ["*.crl"]')
    alice = place.signer("alice")
    service = Service(
        "cps", ["cps", "--listen", "127.0.0.1:0", "--config", str(config)], place.folder
    )

    def hang_up() -> None:
        before = service.said.count("lists read again")
        os.kill(service.pid, signal.SIGHUP)
        service.wait_until(lambda: service.said.count("lists read again") > before, "reading")

    with service:
        url = listening(service)
        async with client_of(place) as client:
            await client.put_record(url, ALICE, token(alice, 1), soon())
        # renewed under another CA, and the anchors are half-written
        _, _, place.ca = tls_certificate(place.folder, "cps", ["127.0.0.1"])
        (place.folder / "anchor.pem").write_text("-----BEGIN CERT")
        hang_up()
        async with client_of(place) as client:
            await client.put_record(url, ALICE, token(alice, 2), soon())
            assert "anchor.pem" in service.said
            place.lists(alice.certificate.serial_number)
            hang_up()
            with pytest.raises(CpsRefused, match="revoked"):
                await client.put_record(url, ALICE, token(alice, 3), soon())
        assert service.stop() == 0


def test_crls_of_a_cps_are_files(place: Place) -> None:
    """It fetches nothing: a URL is a mistake that says so, and so is a file that is none."""
    for crls in ('["https://crl.example.com/all.crl"]', '["none.crl"]'):
        config = place.write(f"crls = {crls}")
        with pytest.raises(ConfigurationError, match=r"cps\.crls"):
            cps.settings_from(arguments("--config", str(config)))


PROVIDER = '"1310" = ["1234"]'


@pytest.mark.parametrize(
    ("table", "taken"),
    [
        ("", False),
        (PROVIDER, True),
        ('"1310" = ["9999"]', False),
        # the longest prefix decides alone
        ('"1310" = ["1234"]\n"13105" = ["9999"]', False),
        ('"1310556" = ["1234"]', False),
    ],
)
async def test_a_provider_publishes_where_both_tables_say_so(
    place: Place, table: str, taken: bool
) -> None:
    """A certificate with a provider's code alone binds no number, until the CPS's table and then
    the caller's own give it the number; each decides for itself."""
    config = place.write(spc_table=table)
    signed = token(place.signer("provider"), 1, BOB)
    anchors = Anchors.of([place.office.authority.certificate])
    service = Service(
        "cps", ["cps", "--listen", "127.0.0.1:0", "--config", str(config)], place.folder
    )

    def caller(client: CpsClient, policy: SpcPolicy) -> Resolver:
        return Resolver(
            routes=Routes([Route("1", (url,))]),
            records=client,
            anchors=lambda: anchors,
            spc_policy=policy,
        )

    with service:
        url = listening(service)
        async with client_of(place) as client:
            if not taken:
                with pytest.raises(CpsRefused, match="not of '1234'"):
                    await client.put_record(url, BOB, signed, soon())
                return
            await client.put_record(url, BOB, signed, soon())
            agrees = SpcPolicy(table={"1310": frozenset({"1234"})})
            found = await caller(client, agrees).destination(BOB, soon())
            assert len(found.keys) == 1
            for policy in (SpcPolicy(), SpcPolicy(table={"1310": frozenset({"9999"})})):
                found = await caller(client, policy).destination(BOB, soon())
                assert (found.reason, found.keys) == (Reason.BAD_RECORD, ())

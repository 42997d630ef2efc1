"""Family 18: what is fetched for a number and does not open, or opens to nonsense."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.keyring import Keyring
from pbx_stir.services.call import Outcome, Reason, Verstat
from pbx_stir.stir import sealing
from tests.services import world
from tests.services.world import BOB, NOW, World

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
INFO = b"pbx-stir sealed passport v1\x00" + BOB.encode()


class Bob(World):
    """Bob's world with his real keyring."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.files = KeyFiles(folder / "keys")
        self.files.new(NOW - 100)
        self.keyring = Keyring(self.files)
        self.public = self.keyring.keys[0].public
        self.service.opener = self.keyring
        self.service.monotonic = time.monotonic

    def hold(self, *blobs: bytes) -> None:
        """Have the CPS return these."""
        self.placement.held[BOB] = list(blobs)

    def sealed(self, *, public: bytes = b"", number: str = BOB, **changes: object) -> bytes:
        """An honest blob."""
        text = self.token(**changes).token
        return sealing.seal(text, self.company.chain, public or self.public, number)

    def raw(self, plaintext: bytes) -> bytes:
        """Any octets, rightly encrypted to Bob."""
        return SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(self.public), INFO)

    async def verdict(self) -> Outcome:
        """The verdict on a call from Alice."""
        return await self.service.verify(world.call(), "1", NOW, time.monotonic() + 5)


@pytest.fixture
def bob(tmp_path: Path) -> Bob:
    """Bob."""
    return Bob(tmp_path)


def none(outcome: Outcome, reason: Reason = Reason.NO_PASSPORT) -> None:
    """Nothing is held against the call."""
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, reason)


async def test_family_18_decryption_dummies_only(bob: Bob) -> None:
    """What a CPS makes up is no PASSporT, and no failure."""
    bob.hold(*(sealing.dummy(bytes([at]) * 32) for at in range(3)))
    none(await bob.verdict())
    bob.hold()
    none(await bob.verdict())


@pytest.mark.parametrize("what", ["another key", "another number", "another service's key"])
async def test_family_18_decryption_not_ours(bob: Bob, what: str) -> None:
    """Sealed to somebody else of the number, or to us under another number."""
    other = sealing.public_octets(sealing.new_private_key())
    blob = bob.sealed(number="13105552001") if "number" in what else bob.sealed(public=other)
    bob.hold(blob)
    none(await bob.verdict())
    bob.hold(blob, bob.sealed())
    assert (await bob.verdict()).verstat is Verstat.PASSED


@pytest.mark.parametrize("at", [0, 5, 31, 32, 100, 2_000, -17, -16, -1])
async def test_family_18_decryption_flipped_bit(bob: Bob, at: int) -> None:
    """One bit anywhere, and it is nobody's."""
    blob = bytearray(bob.sealed())
    blob[at] ^= 4
    bob.hold(bytes(blob))
    none(await bob.verdict())


@pytest.mark.parametrize("size", [0, 1, 31, 32, 47, 48, 4_143, 4_145, 100_000])
async def test_family_18_decryption_another_size(bob: Bob, size: int) -> None:
    """Truncated or prolonged."""
    bob.hold((bob.sealed() * 30)[:size])
    none(await bob.verdict())


def laid_out(text: bytes, certificates: bytes = b"", *, pad: bytes = b"\0") -> bytes:
    """The plaintext's layout."""
    octets = len(text).to_bytes(2, "big") + text + len(certificates).to_bytes(2, "big")
    return (octets + certificates).ljust(4_096, pad)


MALFORMED = {
    "all zeros": bytes(4_096),
    "all ones": b"\xff" * 4_096,
    "a length beyond the end": b"\xff\xff" + bytes(4_094),
    "a second length beyond the end": b"\x00\x01a\xff\xff" + bytes(4_091),
    "padding that is not zero": laid_out(b"a.b.c", pad=b"\x01"),
    "one octet of padding that is not zero": laid_out(b"a.b.c")[:-1] + b"\x01",
    "no PASSporT": laid_out(b""),
    "beyond ASCII": laid_out("\u00e9.b.c".encode()),
    "no certificates where some should be": laid_out(b"a.b.c", b"junk"),
    "a certificate cut short": laid_out(b"a.b.c", b"\x30\x82\x10\x00\x01"),
    "an endless certificate": laid_out(b"a.b.c", b"\x30\x80\x00\x00"),
    "a length without octets": laid_out(b"a.b.c", b"\x30"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_family_18_decryption_opens_to_nonsense(bob: Bob, name: str) -> None:
    """Whoever has our public key may have written anything: malformed, and nothing worse."""
    blob = bob.raw(MALFORMED[name])
    bob.hold(blob)
    none(await bob.verdict(), Reason.MALFORMED)
    bob.hold(blob, bob.sealed())
    assert (await bob.verdict()).verstat is Verstat.PASSED


async def test_family_18_decryption_opens_to_another_text(bob: Bob) -> None:
    """Rightly laid out, but no PASSporT, or with certificates that are none."""
    bob.hold(bob.raw(laid_out(b"a.b.c")))
    none(await bob.verdict(), Reason.MALFORMED)
    bob.hold(bob.raw(laid_out(bob.token().token.encode(), b"\x30\x00")))
    none(await bob.verdict(), Reason.CERTIFICATE_UNTRUSTED)
    bob.hold(bob.raw(laid_out(bob.token().token.encode() + b"\n")))
    none(await bob.verdict(), Reason.MALFORMED)


async def test_family_18_decryption_previous_key(bob: Bob) -> None:
    """After a rotation what was sealed to the previous key still opens, and to the new one too."""
    old = bob.sealed(jti="old")
    bob.files.new(NOW)
    bob.keyring.reload()
    bob.public = bob.keyring.keys[0].public
    bob.hold(old)
    assert (await bob.verdict()).verstat is Verstat.PASSED
    bob.hold(bob.sealed(jti="new"))
    assert (await bob.verdict()).verstat is Verstat.PASSED


async def test_family_18_decryption_haystack(bob: Bob) -> None:
    """One of ours among a thousand of others is found before the deadline."""
    strangers = [sealing.dummy(at.to_bytes(32, "big")) for at in range(1_000)]
    bob.hold(*strangers, bob.sealed())
    assert (await bob.verdict()).verstat is Verstat.PASSED
    # what was found not ours costs next to nothing the second time
    bob.hold(*strangers, bob.sealed(jti="second"))
    call = world.call(unique_id="2", linked_id="2")
    began = time.thread_time()
    outcome = await bob.service.verify(call, "2", NOW, time.monotonic() + 5)
    assert outcome.verstat is Verstat.PASSED
    assert time.thread_time() - began < 1


async def test_family_18_decryption_time_is_over(bob: Bob) -> None:
    """What cannot be opened in time is left, and said to be."""
    bob.hold(*(sealing.dummy(at.to_bytes(32, "big")) for at in range(100)), bob.sealed())
    outcome = await bob.service.verify(world.call(), "1", NOW, time.monotonic() - 1)
    none(outcome, Reason.OVERLOADED)


async def test_family_18_decryption_honest(bob: Bob) -> None:
    """One that is ours, with its certificates inside: no fetch, Passed."""
    bob.hold(bob.sealed())
    assert (await bob.verdict()).verstat is Verstat.PASSED
    assert bob.certificates.asked == []

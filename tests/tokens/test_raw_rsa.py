"""The private operation: right on every engine, checked, and never on what nobody blinded."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pbx_stir.errors import ConfigurationError, MalformedToken, Unavailable
from pbx_stir.tokens import raw_rsa
from pbx_stir.tokens.raw_rsa import Engine, GmpEngine, OpenSslEngine, RawSigner
from tests.tokens.test_blind_rsa import integer, read

PRIVATE = rsa.generate_private_key(65_537, 2048)
N = PRIVATE.public_key().public_numbers().n
BLINDED = (N // 3).to_bytes(256, "big")
# What an engine says where it is not here; anything else that it says is a fault of ours.
TO_HAVE = {
    "Python's OpenSSL cannot be called": "a Python that shares its OpenSSL is needed, as Debian's",
    "gmpy2 is not installed": "the extra speed has it",
}


def engine(name: str, private: rsa.RSAPrivateKey = PRIVATE) -> Engine:
    """An engine by its name; a test that needs one that is not here is skipped."""
    try:
        return {"OpenSSL": OpenSslEngine, "gmpy2": GmpEngine}[name](private)
    except Unavailable as error:
        if error.message not in TO_HAVE:
            raise
        pytest.skip(f"{error}: {TO_HAVE[error.message]}")


both = pytest.mark.parametrize("name", ["OpenSSL", "gmpy2"])


@both
def test_the_rfc_vector_is_signed(name: str) -> None:
    """The blind signature is that of RFC 9474, appendix A.1."""
    [vector] = read(Path(__file__).with_name("rfc9474_randomized.json"))
    p, q, d = (integer(vector[each]) for each in "pqd")
    public = rsa.RSAPublicNumbers(integer(vector["e"]), integer(vector["n"]))
    crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    private = rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key()
    signer = RawSigner(private, engine(name, private))
    assert signer.sign(vector["blinded_msg"]) == vector["blind_sig"]


@both
def test_it_is_the_private_operation(name: str) -> None:
    """What is signed is the number to the power of d, as long as the modulus."""
    signer = RawSigner(PRIVATE, engine(name))
    d = PRIVATE.private_numbers().d
    for number in (2, N // 3, N - 2, pow(7, 65_537, N)):
        signed = signer.sign(number.to_bytes(256, "big"))
        assert len(signed) == 256
        assert integer(signed) == pow(number, d, N)


@both
@pytest.mark.parametrize("number", [0, 1, N - 1, N, N + 1, 2**2048 - 1])
def test_what_nobody_blinded_is_refused(name: str, number: int) -> None:
    """Numbers from n on have no place in RSA; 0, 1 and n - 1 sign themselves."""
    signer = RawSigner(PRIVATE, engine(name))
    with pytest.raises(MalformedToken):
        signer.sign(number.to_bytes(256, "big"))


@pytest.mark.parametrize("octets", [0, 1, 255, 257, 512])
def test_another_length_is_refused(octets: int) -> None:
    """A blinded message is as long as the modulus, leading zeros and all."""
    with pytest.raises(MalformedToken):
        RawSigner(PRIVATE).sign(b"\x01" * octets)


class Faulty:
    """An engine whose results go wrong after the first ones."""

    name = "faulty"

    def __init__(self, right: int) -> None:
        self._engine = OpenSslEngine(PRIVATE)
        self._right = right

    def private(self, octets: bytes) -> bytes:
        """Right, then with one bit turned."""
        self._right -= 1
        signed = self._engine.private(octets)
        return signed if self._right >= 0 else signed[:-1] + bytes((signed[-1] ^ 1,))

    def public(self, octets: bytes) -> bytes:
        """Always right."""
        return self._engine.public(octets)


def test_a_fault_never_leaves(caplog: pytest.LogCaptureFixture) -> None:
    """One wrong signature gives the factors of n away: it is checked, kept back and logged."""
    signer = RawSigner(PRIVATE, Faulty(right=1))
    with caplog.at_level(logging.CRITICAL), pytest.raises(Unavailable):
        signer.sign(BLINDED)
    assert "does not compute rightly" in caplog.text
    assert BLINDED.hex() not in caplog.text


def test_an_engine_that_fails_its_test_is_not_used() -> None:
    """The self-test at start needs a signature that another implementation takes."""
    with pytest.raises(ConfigurationError):
        RawSigner(PRIVATE, Faulty(right=0))


def test_gmpy2_takes_the_place_of_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python's OpenSSL cannot be called the other engine is found by itself."""
    missing = "gmpy2 is not installed"
    pytest.importorskip("gmpy2", reason=f"{missing}: {TO_HAVE[missing]}")
    monkeypatch.setattr(raw_rsa, "OpenSslEngine", _missing("OpenSSL"))
    signer = RawSigner(PRIVATE)
    assert signer.engine == "gmpy2"
    assert integer(signer.sign(BLINDED)) == pow(integer(BLINDED), PRIVATE.private_numbers().d, N)


def test_without_an_engine_there_is_a_word_on_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own integers are never used: they would tell the key."""
    for name in ("OpenSslEngine", "GmpEngine"):
        monkeypatch.setattr(raw_rsa, name, _missing(name))
    with pytest.raises(ConfigurationError, match="gmpy2"):
        RawSigner(PRIVATE)


def _missing(engine_name: str) -> type:
    class Missing:
        name = engine_name

        def __init__(self, private: rsa.RSAPrivateKey) -> None:
            raise Unavailable("not here")

    return Missing


@both
def test_threads_may_share_a_signer(name: str) -> None:
    """Two threads at a time sign rightly with one key."""
    signer = RawSigner(PRIVATE, engine(name))
    found: list[bytes] = []

    def work() -> None:
        found.extend(signer.sign(BLINDED) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [signer.sign(BLINDED)] * 80

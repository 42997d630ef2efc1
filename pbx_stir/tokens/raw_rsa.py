"""The private RSA operation, with which a CPS signs what it cannot see (RFC 9474 section 4.3).

Takes a private key and blinded messages, gives blind signatures. ``cryptography`` offers no
operation without padding, and Python's own integers would tell the key by their timing, so OpenSSL
is called: the one that Python's TLS uses. It computes in constant time and blinds what it is given.
Where Python's is built so that it cannot be called, GMP's ``powmod_sec`` takes its place.

Who signs arbitrary numbers must not let a fault slip: one wrong half of a signature gives the key's
factors away. "implementations check that the result is correct" (RFC 9474 section 7.1): each is
checked with the public key before it leaves. And each engine proves itself, when a key is loaded,
against the padding and the check of another implementation.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
import secrets
from typing import Any, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers

from pbx_stir.errors import ConfigurationError, MalformedToken, Unavailable
from pbx_stir.tokens import blind_rsa

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """What computes with one private key. Both raise ``Unavailable`` where they cannot."""

    name: str

    def private(self, octets: bytes) -> bytes:
        """Raise a number below n to d modulo n, both as long as n."""
        ...

    def public(self, octets: bytes) -> bytes:
        """Raise a number below n to e modulo n, both as long as n."""
        ...


class RawSigner:
    """Signs blinded messages with one key, from any thread."""

    def __init__(self, private: RSAPrivateKey, engine: Engine | None = None) -> None:
        """Choose an engine that proves itself with this key.

        Raises ``ConfigurationError`` where there is none.
        """
        self._key = private
        self._modulus = private.public_key().public_numbers().n
        self._octets = private.key_size // 8
        self._engine = engine if engine is not None else self._proven_engine()
        if engine is not None and not self._proves_itself(engine):
            raise ConfigurationError(f"blind signing with {engine.name} does not work here")

    @property
    def engine(self) -> str:
        """What computes, for a log."""
        return self._engine.name

    def check(self, blinded: bytes) -> None:
        """Refuse what no sender can have blinded. Raises ``MalformedToken``.

        0, 1 and n - 1 are their own signatures, or nearly, and come of no blinding.
        """
        if len(blinded) != self._octets:
            raise MalformedToken(f"a blinded message of {len(blinded)} octets, not {self._octets}")
        # RFC 8017 section 5.2.1: "If the message representative m is not between 0 and n - 1,
        # output "message representative out of range" and stop."
        if not 1 < int.from_bytes(blinded, "big") < self._modulus - 1:
            raise MalformedToken("a blinded message out of the range of the key")

    def sign(self, blinded: bytes) -> bytes:
        """Sign one blinded message; it takes most of a millisecond, without Python's global lock.

        Raises ``MalformedToken`` as ``check`` does, and ``Unavailable`` where the signature is not
        right: it is never given out.
        """
        self.check(blinded)
        signature = self._engine.private(blinded)
        if len(signature) != self._octets or self._engine.public(signature) != blinded:
            _log.critical("a blind signature came out wrong: this machine does not compute rightly")
            raise Unavailable("a blind signature failed its check")
        return signature

    def _proven_engine(self) -> Engine:
        for make in (OpenSslEngine, GmpEngine):
            try:
                engine: Engine = make(self._key)
                if self._proves_itself(engine):
                    return engine
                _log.error("blind signing with %s failed its test", engine.name)
            except Unavailable as error:
                _log.debug("no blind signing with %s: %s", make.name, error)
        raise ConfigurationError(
            "this Python's OpenSSL cannot sign storage tokens, and gmpy2 is not there",
            hint="install gmpy2, or a Python that is linked to its system's OpenSSL",
        )

    def _proves_itself(self, engine: Engine) -> bool:
        """Sign an encoding that another implementation checks, and undo it."""
        message = blind_rsa.prepare(b"pbx-stir self-test", secrets.token_bytes(32))
        salt = secrets.token_bytes(blind_rsa.SALT_OCTETS)
        encoded = blind_rsa.encode(message, self._modulus.bit_length() - 1, salt)
        encoded = encoded.rjust(self._octets, b"\0")
        signature = engine.private(encoded)
        if not blind_rsa.holds(self._key.public_key(), message, signature):
            return False
        return engine.public(signature) == encoded


class OpenSslEngine:
    """OpenSSL's ``EVP_PKEY_sign`` without padding; it checks and blinds by itself, too."""

    name = "OpenSSL"

    def __init__(self, private: RSAPrivateKey) -> None:
        """Hand the key over. Raises ``Unavailable`` where OpenSSL cannot be called."""
        self._library = library = _openssl()
        der = private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        begin = ctypes.c_char_p(der)
        self._free = library.EVP_PKEY_free
        self._key: int | None = library.d2i_AutoPrivateKey(None, ctypes.byref(begin), len(der))
        if not self._key:
            library.ERR_clear_error()
            raise Unavailable("OpenSSL does not take the token key")
        self._octets = private.key_size // 8

    def __del__(self) -> None:
        if getattr(self, "_key", None):
            self._free(self._key)

    def private(self, octets: bytes) -> bytes:
        """Raise to d."""
        library = self._library
        return self._run(library.EVP_PKEY_sign_init, library.EVP_PKEY_sign, octets)

    def public(self, octets: bytes) -> bytes:
        """Raise to e."""
        library = self._library
        return self._run(
            library.EVP_PKEY_verify_recover_init, library.EVP_PKEY_verify_recover, octets
        )

    def _run(self, init: Any, operate: Any, octets: bytes) -> bytes:
        library = self._library
        context = library.EVP_PKEY_CTX_new(self._key, None)
        try:
            result = ctypes.create_string_buffer(self._octets)
            size = ctypes.c_size_t(self._octets)
            if (
                not context
                or init(context) <= 0
                or library.EVP_PKEY_CTX_ctrl_str(context, b"rsa_padding_mode", b"none") <= 0
                or operate(context, result, ctypes.byref(size), octets, len(octets)) <= 0
            ):
                # the queue is the thread's, and the next who looks into it is Python's ssl
                library.ERR_clear_error()
                raise Unavailable("OpenSSL refuses an RSA operation")
            return result.raw[: size.value]
        finally:
            library.EVP_PKEY_CTX_free(context)


class GmpEngine:
    """GMP's ``mpz_powm_sec``, "resilient to side-channel attacks", around it blinding of our own.

    Reduction and recombination of the two halves are not resilient; they see blinded numbers only.
    """

    name = "gmpy2"

    def __init__(self, private: RSAPrivateKey) -> None:
        """Take the key over. Raises ``Unavailable`` where gmpy2 is not installed."""
        try:
            self._gmpy2 = gmpy2 = importlib.import_module("gmpy2")
        except ImportError as error:
            raise Unavailable("gmpy2 is not installed") from error
        numbers: RSAPrivateNumbers = private.private_numbers()
        self._n = gmpy2.mpz(numbers.public_numbers.n)
        self._e = gmpy2.mpz(numbers.public_numbers.e)
        self._p, self._q = gmpy2.mpz(numbers.p), gmpy2.mpz(numbers.q)
        self._dmp1, self._dmq1 = gmpy2.mpz(numbers.dmp1), gmpy2.mpz(numbers.dmq1)
        self._iqmp = gmpy2.mpz(numbers.iqmp)
        self._octets = private.key_size // 8

    def private(self, octets: bytes) -> bytes:
        """Raise to d, by halves (RFC 8017 section 5.1.2)."""
        gmpy2 = self._gmpy2
        factor = gmpy2.mpz(secrets.randbelow(int(self._n) - 1) + 1)
        blinded = int.from_bytes(octets, "big") * gmpy2.powmod(factor, self._e, self._n) % self._n
        first = gmpy2.powmod_sec(blinded % self._p, self._dmp1, self._p)
        second = gmpy2.powmod_sec(blinded % self._q, self._dmq1, self._q)
        whole = second + self._q * ((first - second) * self._iqmp % self._p)
        signed = whole * gmpy2.invert(factor, self._n) % self._n
        return int(signed).to_bytes(self._octets, "big")

    def public(self, octets: bytes) -> bytes:
        """Raise to e."""
        raised = self._gmpy2.powmod(int.from_bytes(octets, "big"), self._e, self._n)
        return int(raised).to_bytes(self._octets, "big")


@functools.lru_cache(maxsize=1)
def _openssl() -> ctypes.CDLL:
    """Open the libcrypto that Python's TLS is linked against. Raises ``Unavailable``.

    A symbol looked up in ``_ssl`` is looked up in what it was linked with as well: so this is never
    another OpenSSL of the machine, whose version nobody has looked at.
    """
    try:
        import _ssl

        library = ctypes.CDLL(getattr(_ssl, "__file__", None))
        pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        octets = ctypes.c_char_p
        operation = [pointer, pointer, ctypes.POINTER(size), octets, size]
        for name, result, arguments in (
            ("d2i_AutoPrivateKey", pointer, [pointer, ctypes.POINTER(octets), ctypes.c_long]),
            ("EVP_PKEY_free", None, [pointer]),
            ("EVP_PKEY_CTX_new", pointer, [pointer, pointer]),
            ("EVP_PKEY_CTX_free", None, [pointer]),
            ("EVP_PKEY_CTX_ctrl_str", number, [pointer, octets, octets]),
            ("EVP_PKEY_sign_init", number, [pointer]),
            ("EVP_PKEY_sign", number, operation),
            ("EVP_PKEY_verify_recover_init", number, [pointer]),
            ("EVP_PKEY_verify_recover", number, operation),
            ("ERR_clear_error", None, []),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, OSError, AttributeError) as error:
        raise Unavailable("Python's OpenSSL cannot be called") from error
    return library

"""What is measured: CPSs as an administrator runs them, and the requests that they are sent."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from bench.load import pin, write_requests
from bench.machine import cpu_seconds
from lab import processes
from lab.companies import Authority, tls_certificate
from lab.debian import LabError
from pbx_stir.stir import credential, sealing, signed_request
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens import blind_rsa, epochs, exchange, storage_token
from pbx_stir.tokens.key_files import KeyFiles, SecretKey
from pbx_stir.tokens.storage_token import StorageToken, Store

HOST: Final = "127.0.0.1"
STORES_OF_A_TOKEN: Final = 16
FIRST_NUMBER: Final = 12_125_000_000
NUMBERS: Final = 5_000
_SALT_OCTETS: Final = 48


class World:
    """A folder with an authority and TLS files. CPSs keep their tokens' keys in its ``state``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.new(folder, "Bench Authority")
        self.certificate, self.key, self.ca = tls_certificate(folder, "cps", [HOST])
        self._services = 0

    @contextlib.contextmanager
    def cps(
        self,
        *arguments: str,
        tls: bool = False,
        tokens: bool = False,
        more: str = "",
        tail: str = "",
        processors: tuple[int, ...],
    ) -> Iterator[Cps]:
        """Run one on these processors. ``more`` are keys of [cps], ``tail`` is what follows."""
        self._services += 1
        name = f"cps-{self._services}"
        files = f'certificate = "{self.certificate}"\nkey = "{self.key}"\n' if tls else ""
        configuration = self.folder / f"{name}.toml"
        configuration.write_text(
            f'state_dir = "state"\n[cps]\nlisten = "{HOST}:0"\ntls = {str(tls).lower()}\n{files}'
            f"tokens = {str(tokens).lower()}\nretrievals_per_second = 1000000\n"
            f"most_mebibytes = 1024\nstores_per_token = {STORES_OF_A_TOKEN}\n"
            f"stores_per_token_and_number = {STORES_OF_A_TOKEN}\n"
            f'trust = ["{self.authority.anchor}"]\n{more}\n{tail}\n'
        )
        command = ["cps", "--config", str(configuration), *arguments]
        with processes.Service(name, command, self.folder) as service:
            service.wait_until(lambda: "listening on" in service.said, "listening")
            found = re.search(r"listening on \S+:(\d+)", service.said)
            assert found is not None
            bare = re.search(r"unsealed passports at \S+:(\d+)", service.said)
            cps = Cps(
                service.pid,
                int(found[1]),
                str(self.ca) if tls else "",
                int((bare or found)[1]),
            )
            for pid in cps.pids():
                pin(pid, processors)
            yield cps

    def credential(self, name: str, numbers: TnAuthList) -> credential.Credential:
        """A company's credential."""
        certificate, key = self.authority.issue(self.folder, name, numbers)
        return credential.load(
            certificate.read_bytes(), key.read_bytes(), x5u="https://cert.example.com/c.pem"
        )

    def stores(self, file: Path, count: int, *, calls_a_token: int, cps: Cps) -> None:
        """Write so many token-checked stores; their proofs are good for half a minute.

        What the CPS would sign blindly is signed here with its key, which gives the same.
        """
        key = key_of_now(KeyFiles(self.folder / "state" / "token-keys"))
        audience = epochs.parse_key_list(cps.get(exchange.KEYS_PATH)).issuer

        def texts() -> Iterator[bytes]:
            for index in range(count):
                if index % calls_a_token == 0:
                    authorise = token_of(key, audience)
                number = str(FIRST_NUMBER + secrets.randbelow(NUMBERS))
                body = sealed_text()
                header = authorise(number=number, body=body)
                yield post(number, body, f"Authorization: {header}\r\n")

        write_requests(file, texts())

    def token_requests(self, file: Path, count: int, cps: Cps) -> None:
        """Write so many requests for blind signatures, as many in each as there may be."""
        company = self.credential("tokens", TnAuthList(spcs=("1234",)))
        listed = epochs.parse_key_list(cps.get(exchange.KEYS_PATH))
        epoch = epochs.epoch_of(time.time())
        key = listed.of(epoch)
        assert key is not None
        modulus = key.public.public_numbers().n
        blinded = []
        for _ in range(exchange.MOST_IN_A_REQUEST):
            prepared = blind_rsa.prepare(os.urandom(64), os.urandom(blind_rsa.RANDOMIZER_OCTETS))
            made = blind_rsa.blind(
                key.public,
                prepared,
                salt=os.urandom(_SALT_OCTETS),
                r=2 + secrets.randbelow(modulus - 3),
            )
            blinded.append(made.blinded)
        body = exchange.format_request(exchange.BlindedBatch(epoch, tuple(blinded)))

        def texts() -> Iterator[bytes]:
            for _ in range(count):
                nonce = exchange.parse_nonce(cps.get(exchange.TOKENS_PATH))
                header = signed_request.sign_request(
                    signed_request.TOKEN_REQUEST,
                    audience=listed.issuer,
                    method="POST",
                    path=exchange.TOKENS_PATH,
                    body=body,
                    now=time.time(),
                    credential=company,
                    nonce=nonce,
                )
                yield request(exchange.TOKENS_PATH, body, "application/json", header)

        write_requests(file, texts())


def key_of_now(keys: KeyFiles) -> SecretKey:
    """The key that the CPS signs tokens with now; to read and check it takes some 50 ms."""
    now = time.time()
    return next(each for each in keys.prepare(now) if each.epoch == epochs.epoch_of(now))


def token_of(secret: SecretKey, audience: str, host: str = HOST) -> Callable[..., str]:
    """Make a token, signed with the CPS's own key; gives what authorises stores at ``host``."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = storage_token.key_octets(private.public_key())
    randomizer = os.urandom(blind_rsa.RANDOMIZER_OCTETS)
    unsigned = StorageToken(secret.epoch, key, randomizer, b"")
    how = padding.PSS(padding.MGF1(hashes.SHA384()), _SALT_OCTETS)
    signature = secret.private.sign(unsigned.prepared(audience), how, hashes.SHA384())
    token = StorageToken(secret.epoch, key, randomizer, signature)

    def authorise(*, number: str, body: bytes) -> str:
        store = Store(host, "POST", number, "application/passport", body)
        proof = storage_token.prove(private, token, store, now=time.time(), nonce=os.urandom(16))
        return storage_token.format_authorization(token, proof)

    return authorise


class Cps:
    """A CPS that runs: its process, its port on 127.0.0.1, the CA of its certificate or "".

    ``bare_port`` is where it takes unsealed PASSporTs, the same where it takes none.
    """

    def __init__(self, pid: int, port: int, ca: str, bare_port: int = 0) -> None:
        self.pid = pid
        self.port = port
        self.ca = ca
        self.bare_port = bare_port or port

    def pids(self) -> list[int]:
        """Its processes: itself and its workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def processor_seconds(self) -> float:
        """What all of them have used."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def get(self, path: str) -> bytes:
        """What it answers to GET. Raises LabError."""
        context = ssl.create_default_context(cafile=self.ca) if self.ca else None
        url = f"{'https' if self.ca else 'http'}://{HOST}:{self.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10, context=context) as answer:
                return bytes(answer.read())
        except OSError as error:
            raise LabError(f"{path}: {error}") from error


def sealed_text() -> bytes:
    """The text of a sealed PASSporT, as far as a CPS can tell."""
    return sealing.to_wire(os.urandom(sealing.SEALED_OCTETS))


def post(number: str, body: bytes, more: str = "") -> bytes:
    """A store."""
    head = f"POST /cps/{number}/ppts HTTP/1.1\r\nHost: {HOST}\r\n{more}"
    return f"{head}Content-Type: application/passport\r\n".encode() + _with_length(body)


def request(path: str, body: bytes, content_type: str, authorization: str) -> bytes:
    """A POST with a signed header."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {authorization}\r\n"
    return f"{head}Content-Type: {content_type}\r\n".encode() + _with_length(body)


def _with_length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

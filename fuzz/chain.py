"""Certificates: PEM files, DER chains, and what stands in their extensions."""

from __future__ import annotations

from cryptography import x509

from fuzz import seeds
from pbx_stir.errors import (
    CertificateUnavailable,
    ConstraintViolated,
    Malformed,
    MalformedCertificate,
    PbxStirError,
)
from pbx_stir.stir import certificate, ocsp, revocation_list
from pbx_stir.stir.constraints import ClaimConstraints
from pbx_stir.stir.tnauthlist import TnAuthList

_CONSTRAINTS = ClaimConstraints(
    must_include=("attest",), permitted=(("attest", ("A", "1")),), must_exclude=("rcd",)
)
# the first octet says what the others are
SEEDS = (
    b"\x00" + seeds.PEM,
    *(b"\x01" + der for der in seeds.DERS),
    b"\x02" + seeds.LISTED.encode(),
    b"\x03" + _CONSTRAINTS.encode(),
    b"\x04" + bytes.fromhex("30030a0106"),
    b"\x05" + seeds.DERS[0],
)
_POLICY = certificate.SpcPolicy()


def one(octets: bytes) -> None:
    """Read it, and find a path where there is a chain."""
    kind, rest = octets[0] if octets else 0, octets[1:]
    try:
        _KINDS[kind % len(_KINDS)](rest)
    except (Malformed, CertificateUnavailable):
        # the latter: an OCSP responder that says it will not
        pass


def _pem(octets: bytes) -> None:
    _path(certificate.parse_pem_chain(octets))


def _der(octets: bytes) -> None:
    _path(certificate.parse_chain([octets, seeds.DERS[1]]))


def _path(chain: tuple[x509.Certificate, ...]) -> None:
    try:
        path = certificate.find_path(chain, seeds.ANCHORS, seeds.NOW)
    except PbxStirError:
        return
    # nobody but the seeds' authority makes a path
    assert path.certificates[-1] == seeds.ROOT
    assert path.leaf in (seeds.LEAF, seeds.CA) or path.certificates[1] in (seeds.CA, seeds.ROOT)
    assert path.covers(seeds.ALICE, _POLICY) in (True, False)


def _listed(octets: bytes) -> None:
    read = TnAuthList.parse(octets)
    again = TnAuthList.parse(read.encode())
    assert again == read
    assert read.contains(again) or not read.has_numbers
    for start, _ in read.ranges:
        assert read.covers(start)
    for number in read.numbers:
        assert read.covers(number)


def _constraints(octets: bytes) -> None:
    for enhanced in (False, True):
        try:
            read = ClaimConstraints.parse(octets, enhanced=enhanced)
        except MalformedCertificate:
            continue
        assert ClaimConstraints.parse(read.encode(), enhanced=True) == read
        try:
            read.check(seeds.RICH.claims)
        except ConstraintViolated:
            pass


def _answer(octets: bytes) -> None:
    answer = ocsp.parse_answer(octets)
    ocsp.said_of(answer, seeds.LEAF, seeds.CA, seeds.NOW)


def _lists(octets: bytes) -> None:
    for read in revocation_list.parse_lists(octets):
        read.entry(seeds.LEAF)


_KINDS = (_pem, _der, _listed, _constraints, _answer, _lists)

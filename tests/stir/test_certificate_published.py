"""Paths of certificates that others have published: hostile ones, honest ones, the RFCs' own."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path as FilePath

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.errors import CertificateUntrusted, PbxStirError
from pbx_stir.stir.certificate import Anchors, find_path, parse_chain, parse_pem_chain
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.stir.finding import NOW

# What other validators check beyond paths (names of web servers, their key purposes, CRLs, key
# identifiers, and pedantry about serial numbers) is not asked of STIR certificates.
_NOT_OURS = ("crl::", "rfc5280::nc::", "rfc5280::eku::", "rfc5280::san::", "rfc5280::aki::",
             "rfc5280::ski::", "rfc5280::serial::", "pathlen::max-chain-depth")  # fmt: skip
_TOLERATED = {
    # the path validation of RFC 5280 section 6.1 asks neither for critical basicConstraints nor for
    # critical policyConstraints
    "rfc5280::root-non-critical-basic-constraints",
    "rfc5280::pc::ica-noncritical-pc",
    # about the leaf, where the test below puts a looser profile in the place of ours
    "rfc5280::ca-as-leaf-wrong-san",
    "rfc5280::ee-critical-aia-invalid",
    "rfc5280::leaf-ku-keycertsign",
    # ten certificates
    "cve::cve-2024-0567",
}


def test_limbo(monkeypatch, forge, vectors: FilePath) -> None:
    """Public hostile paths fail and honest ones hold, as far as they apply to STIR."""
    from pbx_stir.stir import certificate, profile

    # The leaves are of web servers: only what a STIR leaf must have beyond X.509 is left out.
    def check_leaf(leaf: x509.Certificate) -> TnAuthList:
        understood = profile._UNDERSTOOD_ON_LEAF | {x509.ExtensionOID.AUTHORITY_INFORMATION_ACCESS}
        profile._check_form(leaf, understood)
        return TnAuthList(spcs=("limbo",))

    monkeypatch.setattr(certificate, "check_leaf", check_leaf)
    cases = json.loads((vectors / "limbo/limbo_subset.json").read_text())["testcases"]
    met = 0
    for case in cases:
        if case["id"].startswith(_NOT_OURS) or case["id"] in _TOLERATED:
            continue
        when = case["validation_time"]
        now = datetime.fromisoformat(when).timestamp() if when else time.time()
        pem = "\n".join([case["peer_certificate"], *case["untrusted_intermediates"]])
        ders = [one.public_bytes(Encoding.DER) for one in _readable(pem)]
        try:
            anchors = Anchors.of(_readable("\n".join(case["trusted_certs"])))
            find_path(parse_chain(ders), anchors, now)
            result = "SUCCESS"
        except PbxStirError:
            result = "FAILURE"
        assert result == case["expected_result"], case["id"]
        met += 1
    assert met > 40


def _readable(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text in their order; none where one cannot be read."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, Warning):
        return []


def test_a_published_stir_certificate_reads(vectors: FilePath) -> None:
    """The example of RFC 9118 is a leaf of the profile, and expired for nobody we trust."""
    found = json.loads((vectors / "rfc/rfc8226_rfc9118_asn1.json").read_text())
    chain = parse_pem_chain(found["rfc9118_cert_pem"].encode())
    with pytest.raises(CertificateUntrusted):
        find_path(chain, Anchors.of([]), NOW)
    large = parse_pem_chain(found["rfc8226_cert_pem"].encode())
    with pytest.raises(CertificateUntrusted, match="P-256"):
        find_path(large, Anchors.of([]), NOW)

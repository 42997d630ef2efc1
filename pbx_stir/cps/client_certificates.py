"""TLS client certificates, beside signed requests (RFC 9888 section 6: "like mutual TLS").

Takes a server's TLS context and a connection; gives the certificates that the client showed. What
TLS checks is not relied upon: the chain is judged by ``holders`` as one of a signed request is.
But TLS libraries refuse certificates for reasons of their own, so this can never be the only way.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.stir.certificate import Anchors

# A critical TNAuthList is one that OpenSSL does not know: X509_V_FLAG_IGNORE_CRITICAL.
_IGNORE_CRITICAL: Final = 0x10
# Whether it is in time is judged with the rest: X509_V_FLAG_NO_CHECK_TIME.
_NO_CHECK_TIME: Final = 0x200000


def ask_for_certificates(context: ssl.SSLContext, anchors: Anchors) -> None:
    """Make a server ask clients for certificates, and do without where they show none."""
    pem = (each.public_bytes(Encoding.PEM).decode("ascii") for each in anchors.certificates)
    context.load_verify_locations(cadata="".join(pem))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags = ssl.VerifyFlags(
        context.verify_flags | _IGNORE_CRITICAL | _NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN
    )
    # A resumed session has the leaf alone.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET


def shown_certificates(transport: asyncio.BaseTransport | None) -> Sequence[bytes]:
    """Give what a client showed, DER, leaf first; nothing where it showed none."""
    shown: Any = transport.get_extra_info("ssl_object") if transport is not None else None
    if shown is None or shown.getpeercert(binary_form=True) is None:
        return ()
    # Python 3.13 has get_unverified_chain; before that the same is one level below.
    chain = getattr(shown, "get_unverified_chain", None)
    if chain is not None:
        return [bytes(each) for each in chain()]
    below = getattr(shown, "_sslobj", None)
    chain = getattr(below, "get_unverified_chain", None)
    if chain is None:
        return [shown.getpeercert(binary_form=True)]
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain()]

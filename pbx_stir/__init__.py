"""STIR out-of-band (RFC 8816, RFC 9888) for PBXs.

Signs the caller ID of outbound calls, verifies that of inbound ones, and holds the call placement
service between the two. Nothing heavy is imported here.
"""

__version__ = "0.1.0"

"""The authentication and the verification service (RFC 8816 section 8), over Protocols."""

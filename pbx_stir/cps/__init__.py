"""The call placement service (RFC 8816 sections 6, 7 and 9): wire, store, server and client."""

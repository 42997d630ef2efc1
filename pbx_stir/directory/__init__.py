"""Where the CPSs of a number are, and which keys it has (RFC 8816 section 10)."""

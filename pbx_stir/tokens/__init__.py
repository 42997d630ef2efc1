"""Storage tokens: what lets a CPS count stores without knowing who makes them (RFC 8816, 7.5)."""

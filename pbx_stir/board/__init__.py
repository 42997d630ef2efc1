"""The call board: a small page on which calls appear as they happen (RFC 8816 section 5.5).

Takes the call log's lines (``feed``), gives a web page and a stream of events (``server``). What
people read of a verdict stands in ``words``; the page itself is in ``assets``. It knows nothing of
PBXs and services, changes nothing, and nothing waits for it.
"""

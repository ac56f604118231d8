"""What a page of another site may send: the header names that a preflight is answered with (Fetch, 4.8)."""

from __future__ import annotations

import re

ALWAYS = (
    b"Authorization",
    b"Cache-Control",
    b"CMCD-Object",
    b"CMCD-Request",
    b"CMCD-Session",
    b"CMCD-Status",
    b"If-None-Match",
    b"If-Range",
    b"Range",
)
"""The fields that players send, those of CTA-5004 (CMCD) among them. They are listed whatever is asked for."""

NAMES = 32
"""So many of the names that are asked for are looked at."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_ALWAYS = frozenset(name.lower() for name in ALWAYS)


def allowed_headers(requested: bytes) -> bytes:
    """
    Access-Control-Allow-Headers, for an Access-Control-Request-Headers.

    Players and the pages around them send fields of their own, of which none has an effect here: every valid name is
    allowed. What is no field name, is longer than any that is in use, or comes after `NAMES` others, is left out.
    """
    names = (name.strip(b" \t") for name in requested.split(b",", NAMES)[:NAMES])
    more = dict.fromkeys(name.lower() for name in names if _NAME.fullmatch(name))
    return b", ".join((*ALWAYS, *(name for name in more if name not in _ALWAYS)))

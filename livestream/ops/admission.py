"""
Who may ask at the operations port: by an address or a name that is ours, from no page of another site, with the token.

A page that somebody's browser has open can have it ask here too, under the name of the page's own site, which is made
to stand for this machine's address ("DNS rebinding"), or, for what changes something, without reading the response.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Iterable
from hmac import compare_digest
from ipaddress import ip_address

from attrs import define, field
from twisted.web.http import Request

from livestream.http.response import Field, Response, ResponseFactory
from livestream.http.site import PATH
from livestream.metrics import Metrics
from livestream.urls import split_authority

PROBES = (b"/healthz", b"/readyz")
"""What load balancers and supervisors ask, by whatever name, and what tells an untrusted peer nothing."""
READING = (b"GET", b"HEAD")
CHANGING = (b"POST", b"DELETE")
ALLOW: Field = (b"Allow", b", ".join((*READING, *CHANGING)))
CHALLENGE: Field = (b"WWW-Authenticate", b'Basic realm="livestream"')
"""RFC 7617: a browser then asks its user for a name, which may be any, and for the password, which is the token."""


def host_names(names: Iterable[str]) -> frozenset[str]:
    """Host names as they are compared: in lower case, without a dot at the end."""
    return frozenset(split_authority(name)[0] for name in names)


@define(eq=False)
class OpsAdmission:
    """
    Refuses requests that an operator has not made (an `Admission`).

    ``hosts`` has the names, as `host_names` gives them, by which this port may be asked beside ``localhost`` and
    addresses; with a ``token``, whoever asks must know it.
    """

    responses: ResponseFactory
    metrics: Metrics
    hosts: frozenset[str] = frozenset()
    token: str = field(default="", repr=False)

    def refusal(self, request: Request, now: float) -> Response | None:
        if PATH.fullmatch(request.path) is None:
            return self._refusal("404 Not Found", "no such path", now)
        if request.method not in (*READING, *CHANGING):
            return self._refusal("405 Method Not Allowed", "this method is not allowed", now, ALLOW)
        if request.path in PROBES and request.method in READING:
            return None
        host = _only(request, b"host")
        if not self._is_ours(host):
            self.metrics.limit_hit("ops_host")
            reason = "use an IP address or localhost in the URL, or add this host name to ops.hosts"
            return self._refusal("421 Misdirected Request", reason, now)
        if request.method in CHANGING and not _is_of_no_other_site(request, host):
            self.metrics.limit_hit("ops_origin")
            return self._refusal("403 Forbidden", "requests from pages of other sites are not allowed", now)
        if self.token and not self._is_authorized(request):
            return self._refusal("401 Unauthorized", "send ops.token as a bearer token", now, CHALLENGE)
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name, _ = split_authority(host)
        except ValueError:
            return False
        return name == "localhost" or name in self.hosts or _is_address(name)

    def _is_authorized(self, request: Request) -> bool:
        given = _only(request, b"authorization")
        if compare_digest(_credential(given), self.token.encode()):
            return True
        if given:
            self.metrics.limit_hit("ops_token")
        return False

    def _refusal(self, status: str, reason: str, now: float, *extra: Field) -> Response:
        text = json.dumps({"error": reason}).encode("ascii") + b"\n"
        return self.responses.document(text, b"application/json", now, "", status, *extra)


def _only(request: Request, name: bytes) -> str:
    """The value of a field that comes once; of one that does not, all of its values."""
    return b", ".join(request.requestHeaders.getRawHeaders(name, [])).decode("latin-1")


def _is_of_no_other_site(request: Request, host: str) -> bool:
    """Whether no browser says that a page of another site asks: they all do so when something is to be changed."""
    origin = _only(request, b"origin")
    return not origin or origin.partition("://")[2].lower() == host.lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _credential(field_value: str) -> bytes:
    """The token of ``Bearer TOKEN`` (RFC 6750, 2.1), or the password of ``Basic`` (RFC 7617, 2); empty if neither."""
    scheme, _, value = field_value.partition(" ")
    value = value.strip(" ")
    if scheme.lower() == "bearer":
        return value.encode("latin-1")
    if scheme.lower() != "basic":
        return b""
    try:
        return b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""

"""The status codes with which HTTP refuses a publisher or a viewer."""

from __future__ import annotations

from livestream.model.admission import Reason

STATUS: dict[Reason, str] = {
    Reason.UNKNOWN_PATH: "404 Not Found",
    Reason.INVALID_NAME: "404 Not Found",
    Reason.WRONG_KEY: "403 Forbidden",
    Reason.TOO_MANY_TRIES: "429 Too Many Requests",
    Reason.IN_USE: "409 Conflict",
    Reason.TOO_MANY_STREAMS: "404 Not Found",
    Reason.TOO_MANY_VIEWERS: "503 Service Unavailable",
    Reason.NOT_ALLOWED: "403 Forbidden",
    Reason.UNSUPPORTED: "415 Unsupported Media Type",
    Reason.NOT_LIVE: "404 Not Found",
    Reason.UNAVAILABLE: "503 Service Unavailable",
    Reason.DRAINING: "503 Service Unavailable",
}

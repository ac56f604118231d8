"""Makes ``twistd livestream`` known."""

from twisted.application.service import ServiceMaker

livestream = ServiceMaker(
    "livestream", "livestream.tap", "Live video delivery: RTMP in, adaptive HLS out.", "livestream"
)

"""Publishers over RTMP."""

from __future__ import annotations

from attrs import frozen

from livestream.ingest.publish_admission import PublishAdmission, Publisher
from livestream.model.admission import PublishRequest, Reason, Refusal
from livestream.model.names import APP
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.requests import RtmpRequest

ANOTHER_APP = f"unknown application: publish to rtmp://HOST/{APP}, with the stream key STREAM?key=SECRET"


@frozen
class RtmpPublishing:
    """Admits publishers (the ``Publishing`` of an RTMP port)."""

    admission: PublishAdmission

    async def publish(self, request: RtmpRequest, connection: RtmpConnection) -> Publisher:
        """
        Admit a publisher of the application `APP`.

        :raises Refusal: it may not publish.
        """
        if request.app != APP:
            self.admission.count_refused()
            raise Refusal(Reason.UNKNOWN_PATH, ANOTHER_APP)
        return await self.admission.admit(PublishRequest(request.name, request.query, request.address), connection)

"""What can be wrong with media from an untrusted publisher."""


class MediaError(ValueError):
    """A tag, configuration record or unit of data that does not follow its format."""


class UnsupportedCodec(MediaError):
    """A codec that this system does not serve; the message is for the broadcaster."""


class NotCarried(MediaError):
    """AAC that players do not know, but decoders do; the message is for the broadcaster."""


class UnsupportedLayout(NotCarried):
    """Audio channels that players do not know; the message is for the broadcaster."""


class OversizedPicture(UnsupportedCodec):
    """Pictures that would take a decoder too much memory; the message is for the broadcaster."""

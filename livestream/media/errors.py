"""What can be wrong with media that a stranger sent."""


class MediaError(ValueError):
    """A tag, configuration record or unit of data that does not follow its format."""


class UnsupportedCodec(MediaError):
    """A codec that this system does not serve; the words are for the broadcaster."""


class OversizedPicture(UnsupportedCodec):
    """Pictures that a decoder would need more memory for than is granted; the words are for the broadcaster."""

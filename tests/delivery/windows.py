"""Windows with something in them."""

from types import SimpleNamespace


def window_of(stream, n=3):
    return SimpleNamespace(
        target_s=3,
        texts={"": "#EXTM3U\nmaster\n" * 9, "720p": "#EXTM3U\n" + "".join(f"#EXT-X {i}\n" for i in range(n))},
    )


def longer(stream):
    return window_of(stream, 4)

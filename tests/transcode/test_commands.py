import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.model.frames import Codec, Frame
from livestream.transcode.commands import (
    MAX_RECORD_BYTES,
    Command,
    Done,
    Flush,
    OutOfMemory,
    PipeError,
    Produced,
    RecordReader,
    Refused,
    Setup,
    Source,
    encode,
)
from livestream.transcode.ladder import Rung, ladder_for

FRAMES = st.builds(
    Frame,
    st.sampled_from(Codec),
    st.integers(0, 1 << 60),
    st.binary(min_size=5, max_size=50),
    st.integers(0, 5),
    st.integers(-3000, 3000),
    st.booleans(),
    st.booleans(),
    st.floats(0, 2e9),
)
NAMES = st.text(max_size=20)
RUNGS = st.lists(st.builds(Rung, NAMES, st.integers(1, 4000), st.integers(1, 50_000)), max_size=4).map(tuple)
COMMANDS = st.one_of(
    st.builds(Setup, NAMES, RUNGS),
    st.builds(Source, FRAMES, st.booleans()),
    st.just(Flush()),
    st.builds(Produced, NAMES, FRAMES),
    st.builds(Done, st.booleans()),
    st.builds(Refused, st.text(max_size=300)),
    st.builds(OutOfMemory, st.integers(0, 1 << 40)),
)


@settings(deadline=None, max_examples=80)
@given(st.lists(COMMANDS, max_size=6), st.integers(1, 40))
def test_what_is_said_is_understood_in_any_pieces(commands: list[Command], piece: int) -> None:
    data = b"".join(map(encode, commands))
    records, heard = RecordReader(), list[Command]()
    for at in range(0, len(data), piece):
        heard += records.receive(data[at : at + piece])
    assert heard == commands


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=200))
def test_other_bytes_are_told_from_commands(data: bytes) -> None:
    try:
        heard = list(RecordReader().receive(len(data).to_bytes(4, "big") + data))
    except PipeError:
        return
    assert len(heard) == 1


@pytest.mark.parametrize("size", [0, MAX_RECORD_BYTES + 1])
def test_a_record_of_no_sensible_size_is_refused(size: int) -> None:
    with pytest.raises(PipeError):
        list(RecordReader().receive(size.to_bytes(4, "big")))


def test_a_ladder_lies_strictly_below_its_source() -> None:
    assert [rung.name for rung in ladder_for(720, (360, 1080, 720, 480))] == ["480p", "360p"]
    assert ladder_for(360, (360,)) == ()


def test_a_higher_rung_has_a_higher_rate() -> None:
    rates = [rung.video_kbps for rung in ladder_for(2160, (1440, 1080, 900, 720, 540, 480, 360, 240))]
    assert rates == sorted(rates, reverse=True)

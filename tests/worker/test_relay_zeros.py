"""What goes into frames comes out again, however it is cut, and a stranger's frames fill no memory."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.relay.stream_parser import BadStream
from worker.relay.zero_runs import BLOCK, DATA, FRAME, MOST, ZEROS, Unpacker, pack

PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(0, 3 * BLOCK).map(bytes),
        st.integers(1, 2 * BLOCK).map(lambda size: b"\1" * size),
    ),
    max_size=8,
)


@given(pieces=PIECES, cut=st.integers(1, 5000))
def test_everything_comes_out_as_it_went_in(pieces: list[bytes], cut: int) -> None:
    data = b"".join(pieces)
    packed = b"".join(pack(piece) for piece in (data[:cut], data[cut:]))
    unpacker = Unpacker()
    found = [part for at in range(0, len(packed), cut) for part in unpacker.feed(packed[at : at + cut])]
    assert b"".join(found) == data


def test_zeros_weigh_nothing_and_the_rest_a_frame() -> None:
    memory = os.urandom(BLOCK) + bytes(3 * MOST) + os.urandom(10)
    assert len(pack(memory)) < BLOCK + 10 + 8 * FRAME.size
    full = os.urandom(1 << 18)
    assert len(pack(full)) == len(full) + FRAME.size


def test_no_piece_is_larger_than_a_frame_may_be() -> None:
    unpacker = Unpacker()
    frames = FRAME.pack(ZEROS, MOST) * 3 + FRAME.pack(DATA, MOST) + bytes(MOST)
    assert [len(piece) for piece in unpacker.feed(frames)] == [MOST] * 4


@pytest.mark.parametrize(
    "head", [FRAME.pack(2, 1), FRAME.pack(ZEROS, 0), FRAME.pack(ZEROS, MOST + 1), FRAME.pack(DATA, 2**32 - 1)]
)
def test_what_no_relay_says_is_refused(head: bytes) -> None:
    with pytest.raises(BadStream):
        list(Unpacker().feed(head))

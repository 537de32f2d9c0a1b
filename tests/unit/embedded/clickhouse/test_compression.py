"""Bodies come back as they were sent; torn and corrupted ones are refused with ClickHouse's codes."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable

import brotli
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from embedded.clickhouse.compression import PIECE_BYTES, BlockDecoder, Decoder, decoder_for, encode_blocks, encoder_for
from embedded.clickhouse.protocol import QueryRefused

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "br": brotli.compress,
    "lz4": lz4.frame.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}
NAMES = sorted(COMPRESS)
TEXT = "Nguyễn Thị Ánh, 12 Lê Lợi; ".encode() * 3000


def decoded(made: Decoder, data: bytes, step: int) -> bytes:
    pieces = [piece for at in range(0, len(data), step) for piece in made.feed(data[at : at + step])]
    made.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=3000), step=st.integers(1, 500))
def test_a_body_cut_anywhere_comes_back_whole(name: str, data: bytes, step: int) -> None:
    assert decoded(decoder_for(name), COMPRESS[name](data), step) == data


@pytest.mark.parametrize("name", ["gzip", "zstd", "lz4", "xz", "bz2"])
def test_several_frames_in_a_row_are_one_body(name: str) -> None:
    assert decoded(decoder_for(name), COMPRESS[name](b"one ") + COMPRESS[name](b"two"), 7) == b"one two"


@pytest.mark.parametrize("name", NAMES)
def test_a_torn_body_is_refused(name: str) -> None:
    whole = COMPRESS[name](TEXT)
    with pytest.raises(QueryRefused, match=r"ends early|corrupt"):
        decoded(decoder_for(name), whole[: len(whole) // 2], 64)


@pytest.mark.parametrize("name", NAMES)
def test_garbage_is_refused(name: str) -> None:
    with pytest.raises(QueryRefused, match=r"^Code: \d+\. DB::Exception: "):
        decoded(decoder_for(name), b"\xff\xfenot compressed at all" * 20, 64)


@pytest.mark.parametrize("name", NAMES)
def test_a_bomb_is_unpacked_in_bounded_pieces(name: str) -> None:
    made, biggest = decoder_for(name), 0
    for piece in made.feed(COMPRESS[name](bytes(96 << 20))):
        biggest = max(biggest, len(piece))
    assert biggest <= (128 << 20 if name == "zstd" else 4 * PIECE_BYTES)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_body_needs_no_frame(name: str) -> None:
    decoder = decoder_for(name)
    assert b"".join(decoder.feed(b"")) == b""
    decoder.finish()


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(QueryRefused, match=r"Code: 48.*'snappier'"):
        decoder_for("snappier")


@given(data=st.binary(max_size=3000), name=st.sampled_from(["gzip", "deflate", "zstd", "lz4", "br"]), step=st.integers(1, 700))
def test_an_answer_can_be_read_by_the_decoder_of_its_encoding(data: bytes, name: str, step: int) -> None:
    made = encoder_for(f"unknown, {name};q=0.5, identity")
    assert made.name == name
    sent = b"".join(made.feed(data[at : at + step]) for at in range(0, len(data), step)) + made.finish()
    assert decoded(decoder_for(name), sent, 100) == data


def test_no_encoding_where_none_is_accepted() -> None:
    assert encoder_for("").name == ""
    assert encoder_for("gzip;q=0").name == ""


@given(data=st.binary(max_size=3000), step=st.integers(1, 500))
def test_native_blocks_come_back(data: bytes, step: int) -> None:
    assert decoded(BlockDecoder(), encode_blocks(data), step) == data


def test_native_blocks_of_the_other_methods_are_read() -> None:
    from embedded.clickhouse.compression import _HEADER, _checksum

    for method, body in ((0x90, zstandard.ZstdCompressor().compress(TEXT)), (0x02, TEXT)):
        framed = _HEADER.pack(method, len(body) + _HEADER.size, len(TEXT)) + body
        assert decoded(BlockDecoder(), _checksum(framed) + framed, 100_000) == TEXT


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_one_flipped_byte_in_a_native_block_is_refused(at: int, flip: int) -> None:
    data = bytearray(encode_blocks(TEXT))
    data[at % len(data)] ^= flip
    with pytest.raises(QueryRefused, match=r"Code: (33|39|40)\."):
        decoded(BlockDecoder(), bytes(data), 1000)


def test_a_torn_native_block_is_refused() -> None:
    with pytest.raises(QueryRefused, match="Code: 33\\."):
        decoded(BlockDecoder(), encode_blocks(TEXT)[:-1], 1000)

"""Compression of bodies: HTTP content encodings and ClickHouse's own checksummed blocks. Output is bounded piece by piece."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import brotli
import lz4.block
import lz4.frame
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from embedded.clickhouse.protocol import QueryRefused

PIECE_BYTES = 1 << 20
MAX_BLOCK_BYTES = 128 << 20
_ZSTD_FEED_BYTES = 4096  # a zstd frame can expand thirty-thousandfold: fed in small bites, one bite stays small
_HEADER = struct.Struct("<BII")
_HASH = struct.Struct("<QQ")
_LOW_64_BITS = (1 << 64) - 1


class Decoder(Protocol):
    """Decodes a body piece by piece."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield decoded pieces of at most PIECE_BYTES; raises QueryRefused when the data is corrupt."""
        ...

    def finish(self) -> None:
        """End the body. Raises QueryRefused when it was cut short."""
        ...


class Encoder:
    """Encodes an answer; `name` is its Content-Encoding, empty for none."""

    def __init__(self, name: str, feed: Callable[[bytes], bytes], finish: Callable[[], bytes]) -> None:
        self.name, self.feed, self.finish = name, feed, finish


class _IdentityDecoder:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        """Return: an uncompressed body has no end mark that could be missing."""


class _ZlibDecoder:
    """gzip and deflate; several members in a row are one body."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._decompressor = zlib.decompressobj(window)
        self._has_input = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                if self._decompressor.eof:
                    self._decompressor = zlib.decompressobj(self._window)
                self._has_input = True
                if piece := self._decompressor.decompress(data, PIECE_BYTES):
                    yield piece
                data = self._decompressor.unconsumed_tail or self._decompressor.unused_data
        except zlib.error as error:
            raise QueryRefused(354, "inflate failed: the compressed body is corrupt", "ZLIB_INFLATE_FAILED") from error

    def finish(self) -> None:
        if self._has_input and not self._decompressor.eof:
            raise QueryRefused(354, "inflate failed: the compressed body ends early", "ZLIB_INFLATE_FAILED")


class _ZstdDecoder:
    def __init__(self) -> None:
        self._decompressor = self._new_decompressor()
        self._has_input = False

    @staticmethod
    def _new_decompressor() -> "zstandard.ZstdDecompressionObj":
        return zstandard.ZstdDecompressor(max_window_size=MAX_BLOCK_BYTES).decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            for at in range(0, len(data), _ZSTD_FEED_BYTES):
                bite = data[at : at + _ZSTD_FEED_BYTES]
                while bite:
                    if self._decompressor.eof:
                        self._decompressor = self._new_decompressor()
                    self._has_input = True
                    if piece := self._decompressor.decompress(bite):
                        yield piece
                    bite = self._decompressor.unused_data if self._decompressor.eof else b""
        except zstandard.ZstdError as error:
            raise QueryRefused(561, "ZSTD decoding failed: the compressed body is corrupt", "ZSTD_DECODER_FAILED") from error

    def finish(self) -> None:
        if self._has_input and not self._decompressor.eof:
            raise QueryRefused(561, "ZSTD decoding failed: the compressed body ends early", "ZSTD_DECODER_FAILED")


class _StdlibDecoder:
    """Decoders of the standard library's shape: lz4 frames, xz, bz2."""

    def __init__(self, new_decompressor: Callable[[], Any], refusal: tuple[int, str]) -> None:
        self._new_decompressor, self._refusal = new_decompressor, refusal
        self._decompressor = new_decompressor()
        self._has_input = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                if self._decompressor.eof:
                    data = data or self._decompressor.unused_data or b""
                    if not data:
                        return
                    self._decompressor = self._new_decompressor()
                self._has_input = self._has_input or bool(data)
                piece = self._decompressor.decompress(data, PIECE_BYTES)
                data = b""
                if piece:
                    yield piece
                if not self._decompressor.eof and (self._decompressor.needs_input or not piece):
                    return
        except (RuntimeError, OSError, ValueError, EOFError, lzma.LZMAError) as error:
            raise QueryRefused(self._refusal[0], "decoding failed: the compressed body is corrupt", self._refusal[1]) from error

    def finish(self) -> None:
        if self._has_input and not self._decompressor.eof:
            raise QueryRefused(self._refusal[0], "decoding failed: the compressed body ends early", self._refusal[1])


class _BrotliDecoder:
    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()
        self._has_input = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._has_input = self._has_input or bool(data)
        try:
            piece = self._decompressor.process(data, output_buffer_limit=PIECE_BYTES)
            while piece:
                yield piece
                if self._decompressor.can_accept_more_data():
                    return
                piece = self._decompressor.process(b"", output_buffer_limit=PIECE_BYTES)
        except brotli.error as error:
            raise QueryRefused(448, "brotli decoding failed: the compressed body is corrupt", "BROTLI_READ_FAILED") from error

    def finish(self) -> None:
        if self._has_input and not self._decompressor.is_finished():
            raise QueryRefused(448, "brotli decoding failed: the compressed body ends early", "BROTLI_READ_FAILED")


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "": _IdentityDecoder,
    "identity": _IdentityDecoder,
    "gzip": lambda: _ZlibDecoder(31),
    "x-gzip": lambda: _ZlibDecoder(31),
    "deflate": lambda: _ZlibDecoder(15),
    "zstd": _ZstdDecoder,
    "br": _BrotliDecoder,
    "lz4": lambda: _StdlibDecoder(lz4.frame.LZ4FrameDecompressor, (618, "LZ4_DECODER_FAILED")),
    "xz": lambda: _StdlibDecoder(lzma.LZMADecompressor, (271, "CANNOT_DECOMPRESS")),
    "bz2": lambda: _StdlibDecoder(bz2.BZ2Decompressor, (271, "CANNOT_DECOMPRESS")),
}


def decoder_for(name: str) -> Decoder:
    """Return a new decoder for a Content-Encoding.

    Raises:
        QueryRefused: when there is none of that name.
    """
    factory = _DECODERS.get(name.strip().lower())
    if factory is None:
        known_names = ", ".join(sorted(key for key in _DECODERS if key))
        raise QueryRefused(48, f"Unknown compression method {name[:32]!a}; known are {known_names}", "NOT_IMPLEMENTED")
    return factory()


def encoder_for(accepted: str) -> Encoder:
    """Return an encoder for the first supported entry of an Accept-Encoding header, else one that does not compress."""
    for entry in accepted.split(","):
        name, _, weight = entry.partition(";")
        if factory := _ENCODERS.get(name.strip().lower()):
            if weight.replace(" ", "") in {"q=0", "q=0.0"}:
                continue
            return factory()
    return plain_encoder()


def plain_encoder() -> Encoder:
    """No encoding."""
    return Encoder("", lambda data: data, lambda: b"")


def _zlib_encoder(name: str, window: int) -> Encoder:
    compressor = zlib.compressobj(1, zlib.DEFLATED, window)
    return Encoder(name, compressor.compress, compressor.flush)


def _zstd_encoder() -> Encoder:
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    return Encoder("zstd", compressor.compress, compressor.flush)


def _brotli_encoder() -> Encoder:
    compressor = brotli.Compressor(quality=1)
    return Encoder("br", compressor.process, compressor.finish)


def _lz4_encoder() -> Encoder:
    compressor = lz4.frame.LZ4FrameCompressor()
    pending_header = [bytes(compressor.begin())]

    def header_once() -> bytes:
        return pending_header.pop() if pending_header else b""

    return Encoder(
        "lz4", lambda data: header_once() + bytes(compressor.compress(data)), lambda: header_once() + bytes(compressor.flush())
    )


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _lz4_encoder,
    "zstd": _zstd_encoder,
    "gzip": lambda: _zlib_encoder("gzip", 31),
    "deflate": lambda: _zlib_encoder("deflate", 15),
    "br": _brotli_encoder,
}


def _checksum(data: bytes) -> bytes:
    value = CityHash128(data)
    return _HASH.pack(value >> 64, value & _LOW_64_BITS)


def encode_block(raw: bytes) -> bytes:
    """One checksummed LZ4 block."""
    body = bytes(lz4.block.compress(raw, store_size=False))
    framed = _HEADER.pack(0x82, len(body) + _HEADER.size, len(raw)) + body
    return _checksum(framed) + framed


def encode_blocks(data: bytes) -> bytes:
    """Return `data` as checksummed LZ4 blocks, which `compress=1` asks for."""
    return b"".join(encode_block(data[at : at + PIECE_BYTES]) for at in range(0, len(data), PIECE_BYTES))


def blocks_encoder() -> Encoder:
    """Return the encoder for `compress=1`, which has no Content-Encoding."""
    return Encoder("", encode_blocks, lambda: b"")


class BlockDecoder:
    """Reads checksummed blocks, what `decompress=1` sends."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        offset = 0
        while len(self._buffer) - offset >= _HASH.size + _HEADER.size:
            method, size, raw_size = _HEADER.unpack_from(self._buffer, offset + _HASH.size)
            if not _HEADER.size <= size <= MAX_BLOCK_BYTES or raw_size > MAX_BLOCK_BYTES:
                raise QueryRefused(39, "Too large size of a compressed block: the body is corrupt", "TOO_LARGE_SIZE_COMPRESSED")
            end = offset + _HASH.size + size
            if len(self._buffer) < end:
                break
            framed = bytes(self._buffer[offset + _HASH.size : end])
            if _checksum(framed) != self._buffer[offset : offset + _HASH.size]:
                raise QueryRefused(40, "Checksum doesn't match: corrupted data", "CHECKSUM_DOESNT_MATCH")
            yield _decode_block(method, framed[_HEADER.size :], raw_size)
            offset = end
        del self._buffer[:offset]

    def finish(self) -> None:
        if self._buffer:
            raise QueryRefused(33, "Cannot read all data: a compressed block ends early", "CANNOT_READ_ALL_DATA")


def _decode_block(method: int, body: bytes, raw_size: int) -> bytes:
    if method not in {0x02, 0x82, 0x90}:
        raise QueryRefused(89, f"Unknown compression method of a block: {method:#x}", "UNKNOWN_COMPRESSION_METHOD")
    try:
        raw = _decompress(method, body, raw_size)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError, ValueError) as error:
        raise QueryRefused(271, "Cannot decompress a block: corrupted data", "CANNOT_DECOMPRESS") from error
    if len(raw) != raw_size:
        raise QueryRefused(271, "Cannot decompress a block: its size is not the one announced", "CANNOT_DECOMPRESS")
    return raw


def _decompress(method: int, body: bytes, raw_size: int) -> bytes:
    if method == 0x82:
        return bytes(lz4.block.decompress(body, uncompressed_size=raw_size))
    if method == 0x90:
        # a streaming object, because the one-shot call trusts the size that the frame itself announces
        reader = zstandard.ZstdDecompressor(max_window_size=MAX_BLOCK_BYTES).stream_reader(body)
        return bytes(reader.read(raw_size + 1))
    return body

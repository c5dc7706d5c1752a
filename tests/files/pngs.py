"""PNGs put together by hand."""

import struct
import zlib


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that says it is this large, and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def with_good_checksums(content: bytes) -> bytes:
    """The PNG with each chunk's checksum made right, so that damage reaches the decoder."""
    fixed, position = bytearray(content[:8]), 8
    while position + 12 <= len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        body = content[position + 4 : position + 8 + length]
        fixed += content[position : position + 4] + body + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return bytes(fixed)

"""A text file as blocks of whole lines: unpacked, line ends made alike, memory bounded."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from polyfleet.errors import TraceError

BLOCK_BYTES = 16 * 2**20
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_OTHER_PACKERS = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2"}


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines ended by LF, the last one perhaps not. `line` is the number of the first, from 1."""

    line: int
    data: bytes


def is_parquet(path: Path) -> bool:
    """Whether the file starts as Parquet does. Raises TraceError when it cannot be opened."""
    with open_file(path) as file:
        return file.read(4) == _PARQUET


def open_file(path: Path) -> BinaryIO:
    """The file opened, or TraceError with what is wrong."""
    try:
        return path.open("rb")
    except IsADirectoryError:
        problem, hint = "is a folder", "name the trace file in it"
    except FileNotFoundError:
        problem, hint = "no such trace file", "check the path; relative paths start at the current folder"
    except (OSError, ValueError) as error:
        problem, hint = f"cannot be opened: {error}", "check the path and its permissions"
    raise TraceError(problem, file=str(path), hint=hint)


def blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The lines of a text file, plain or gzip (told by content), a UTF-8 byte order mark taken off.

    Raises TraceError for a file that cannot be opened, is broken off, is binary, or has no line end in a whole block.
    """
    file, line, rest = str(path), 1, b""
    for raw in _chunks(path, block_bytes):
        data = rest + raw
        if b"\0" in raw:
            raise TraceError("binary data, not a trace", file=file, line=line + data[: data.find(b"\0")].count(b"\n"))
        held = b"\r" if data.endswith(b"\r") else b""  # its LF may open the next chunk
        data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > block_bytes:
            raise TraceError("a line too long for a trace", file=file, line=line, hint="one request a line is expected")
        if cut:
            yield Block(line, data[:cut])
            line += data.count(b"\n")
        rest = data[cut:] + held
    if rest.rstrip(b"\r"):
        yield Block(line, rest.rstrip(b"\r"))


def _chunks(path: Path, block_bytes: int) -> Iterator[bytes]:
    with open_file(path) as plain:
        head = plain.read(8)
        plain.seek(0)
        for magic, packer in _OTHER_PACKERS.items():
            if head.startswith(magic):
                raise TraceError(f"packed with {packer}", file=str(path), hint="unpack it, or pack it with gzip")
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise TraceError("UTF-16 text", file=str(path), hint="save it as UTF-8")
        source = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if head.startswith(_GZIP) else plain
        read_bytes = 0
        try:
            while chunk := source.read(block_bytes):
                yield chunk if read_bytes else chunk.removeprefix(b"\xef\xbb\xbf")
                read_bytes += len(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            problem = "broken gzip: " + str(error).rstrip(".").lower()
            hint = f"{read_bytes:,} unpacked bytes were sound; fetch the file again, gzip -t checks it"
            raise TraceError(problem, file=str(path), hint=hint) from error
        except OSError as error:
            raise TraceError(f"cannot be read: {error}", file=str(path)) from error

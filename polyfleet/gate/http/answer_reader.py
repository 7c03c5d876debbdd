"""Reading one HTTP/1.1 answer out of bytes that were cut anywhere (RFC 9112)."""

from __future__ import annotations

from collections.abc import Callable

MAX_HEAD_BYTES = 64 * 1024


class BadAnswer(Exception):
    """The upstream does not speak HTTP/1.1 as it should."""


class AnswerReader:
    """Feeds `on_head` once and `on_body` with every piece of the body, one call for all that came at once."""

    __slots__ = ("_body", "_head", "_left", "_rest", "_state", "ends_with_connection", "keeps_alive")

    def __init__(
        self, on_head: Callable[[int, list[tuple[bytes, bytes]]], None], on_body: Callable[[bytes], None]
    ) -> None:
        self._head, self._body = on_head, on_body
        self._rest = b""
        self._left = 0
        self._state: Callable[[bytes], bool] = self._in_head
        self.keeps_alive = True
        self.ends_with_connection = False

    def feed(self, data: bytes) -> bool:
        """True once the answer is whole. Raises BadAnswer."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        return self._state(data)

    def _in_head(self, data: bytes) -> bool:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MAX_HEAD_BYTES:
                raise BadAnswer("endless head")
            self._rest = data
            return False
        status, headers = parse_head(data[:end])
        rest = data[end + 4 :]
        if 100 <= status < 200:
            return self._in_head(rest)
        self._frame(status, headers)
        self._head(status, headers)
        return self._state(rest)

    def _frame(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        lengths = {value for name, value in headers if name == b"content-length"}
        coded = b",".join(value for name, value in headers if name == b"transfer-encoding").lower()
        if any(name == b"connection" and b"close" in value.lower() for name, value in headers):
            self.keeps_alive = False
        if coded:
            if coded.strip() != b"chunked":
                raise BadAnswer("unknown transfer encoding")
            self._state = self._in_chunks
            self._left = 0
        elif lengths:
            length = lengths.pop()
            if lengths or not length.isdigit():
                raise BadAnswer("no sound length")
            self._left = int(length)
            self._state = self._in_length
        elif status in {204, 304}:
            self._state = self._in_length
        else:
            self.keeps_alive, self.ends_with_connection = False, True
            self._state = self._to_end

    def _in_length(self, data: bytes) -> bool:
        if len(data) > self._left:
            raise BadAnswer("more than the length said")
        self._left -= len(data)
        if data:
            self._body(data)
        return self._left == 0

    def _to_end(self, data: bytes) -> bool:
        if data:
            self._body(data)
        return False

    def _in_chunks(self, data: bytes) -> bool:
        """`_left` is what of the present chunk is still to come, with its CRLF; 0 before a size line."""
        if self._left == 0 and data.endswith(b"\r\n"):
            ended = self._whole_chunks(data)
            if ended is not None:
                return ended
        at, left = 0, self._left
        parts: list[bytes] = []
        length, find = len(data), data.find
        while at < length:
            if left == 0:
                line = find(b"\r\n", at, at + 256)
                if line < 0:
                    if length - at >= 256:
                        raise BadAnswer("no chunk size")
                    break
                size = chunk_size(data[at:line])
                if size == 0:
                    return self._trailer(data, line, parts)
                at = line + 2
                left = size + 2
            stop = at + left
            if stop <= length:
                if data[stop - 1] != 10 or data[stop - 2] != 13:
                    raise BadAnswer("a chunk of another size than it says")
                parts.append(data[at : stop - 2])
                at, left = stop, 0
            elif left > 2:
                taken = min(length - at, left - 2)
                parts.append(data[at : at + taken])
                at, left = at + taken, left - taken
                break
            else:
                break
        self._left = left
        self._rest = data[at:]
        if parts:
            self._body(parts[0] if len(parts) == 1 else b"".join(parts))
        return False

    def _whole_chunks(self, data: bytes) -> bool | None:
        """Whole chunks in which no line ends, as engines write them, taken apart in one go: a third of the cost of one
        after the other. None where they are not of this kind; sizes tell."""
        tokens = data.split(b"\r\n")
        tokens.pop()
        ended = tokens[-2:] == [b"0", b""]
        if ended:
            del tokens[-2:]
        parts = tokens[1::2]
        if list(map(_SIZES.get, tokens[::2])) != list(map(len, parts)):
            return None
        if parts:
            self._body(b"".join(parts))
        return ended

    def _trailer(self, data: bytes, line: int, parts: list[bytes]) -> bool:
        end = line + 4 if data[line : line + 4] == b"\r\n\r\n" else data.find(b"\r\n\r\n", line) + 4
        if parts:
            self._body(b"".join(parts))
        if end < 4:
            if len(data) - line > MAX_HEAD_BYTES:
                raise BadAnswer("endless trailer")
            self._rest, self._left = b"0" + data[line:], 0
            return False
        if end != len(data):
            raise BadAnswer("more than one answer")
        return True


_SIZES: dict[bytes, int] = {}
"""Chunk sizes by how they are written: engines write few, and looking one up costs a quarter of reading it."""


def chunk_size(line: bytes) -> int:
    """Raises BadAnswer."""
    size = _SIZES.get(line, 0)
    if size:
        return size
    size = _read_size(line)
    if size > 0 and len(_SIZES) < 4096:
        _SIZES[line] = size
    return size


def _read_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        size = int(digits, 16)
    except ValueError:
        raise BadAnswer("no chunk size") from None
    if size < 0 or b"_" in digits or digits[:1] == b"+" or b"x" in digits.lower():
        raise BadAnswer("no chunk size")
    return size


def parse_head(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Status and headers, names in lower case. Raises BadAnswer."""
    first, *lines = head.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not rest[:3].isdigit() or rest[3:4] not in {b"", b" "}:
        raise BadAnswer("no status line")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or name != name.strip() or not name:
            raise BadAnswer("a broken header")
        headers.append((name.lower(), value.strip()))
    if version == b"HTTP/1.0":
        headers.append((b"connection", b"close"))
    return int(rest[:3]), headers

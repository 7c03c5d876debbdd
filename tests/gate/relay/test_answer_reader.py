"""HTTP answers of engines are read the same wherever they are cut, and broken ones are refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.gate.http.answer_reader import AnswerReader, BadAnswer


def _read(pieces):
    heads, body = [], []
    reader = AnswerReader(lambda status, headers: heads.append((status, headers)), body.append)
    ended = [reader.feed(piece) for piece in pieces]
    return heads, b"".join(body), ended, reader


_bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(_bodies, st.booleans(), st.sampled_from([b"", b";x=y"]), st.sampled_from([b"", b"x-t: 1\r\n"]))
def test_an_answer_cut_at_any_byte_is_the_same_answer(parts, chunked, extension, trailer):
    body = b"".join(parts)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    if chunked:
        coded = b"".join(b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
        raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n" + trailer + b"\r\n"
    else:
        raw = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for cut in range(1, len(raw)):
        heads, read, ended, reader = _read([raw[:cut], raw[cut:]])
        assert [status for status, _ in heads] == [200]
        assert read == body
        assert ended[-1] is True
        assert reader.keeps_alive
    assert _read([bytes([byte]) for byte in raw])[1] == body


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]),
)
def test_any_bytes_are_read_or_refused(junk, start):
    with contextlib.suppress(BadAnswer):
        _read([start + junk])


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ],
)
def test_what_is_no_sound_answer_is_refused(raw):
    with pytest.raises(BadAnswer):
        _read([raw])

"""What the gate does not know passes byte for byte. Oracle: an upstream that keeps the bytes that it was sent."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from cutting_engine import ask, gate_before, plain, served

TOOLS = (
    b'{ "model" : "m","messages":[{"role":"user","content":[{"type":"text","text":"\\u00e9\\ud83d\\ude42 a\\/b"},'
    b'{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],\n'
    b'"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object"}}}],'
    b'"tool_choice":{"type":"function","function":{"name":"f"}},"response_format":{"type":"json_schema",'
    b'"json_schema":{"name":"a","schema":{"enum":[1.50,1e2,9007199254740993,-0.0]}}},"logit_bias":{"1":-1.0E+1},'
    b'"unknown":{"b":1,"a":[ ],"b":2} , "parallel_tool_calls":false%b}'
)


@pytest.mark.parametrize("stream", [b"", b',"stream":false', b',"stream":true', b',"stream":true,"stream_options":{}'])
def test_tools_images_forms_and_unknown_fields_arrive_as_they_were_sent(tmp_path, stream):
    kept: list[bytes] = []

    async def keep(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                    kept.append(await reader.readexactly(int(length.partition(b":")[2])))
                writer.write(plain(b'{"choices":[]}'))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    body = TOOLS % stream

    async def test():
        async with served(keep) as port, gate_before(tmp_path, {"a": f"http://127.0.0.1:{port}"}) as gate:
            await ask(gate.port, body)

    asyncio.run(test())
    (arrived,) = set(kept)
    fields, sent = orjson.loads(arrived), orjson.loads(body)
    added = set(fields) - set(sent)
    assert {name: fields[name] for name in sent if name != "stream_options"} == {
        name: sent[name] for name in sent if name != "stream_options"
    }
    if b"stream_options" not in body:  # there the gate must ask for the usage, in the client's own field
        assert arrived.endswith(body[1:])
        assert added <= {"return_token_ids", "stream_options"}
    if b'"stream":true' not in body:
        assert arrived == body

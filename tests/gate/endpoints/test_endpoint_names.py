"""Names of models and fields of requests: what the client sends and reads, and what the host does."""

from __future__ import annotations

import orjson
import pytest
from cutting_engine import CuttingEngine, ask, plain, told
from hypothesis import given
from hypothesis import strategies as st
from mock_host import CHAT, STREAM, WORDS, MockHost, gate_of, route, run

from polyfleet.gate.relay.asked import Kind, read_asked
from polyfleet.gate.relay.model_name import renamer
from polyfleet.terms.route import Route


def _renamer(kind=Kind.CHAT, upstream="host/model", asked="chat"):
    body = orjson.dumps({"model": asked, "messages": [], "prompt": "", "input": ""})
    one = Route(id="a", url="http://a.test", served=(asked,), upstream_model=upstream)
    return renamer(one, read_asked(kind, body))


def test_a_stream_asks_for_the_hosts_name_and_bears_the_clients(tmp_path):
    async def test():
        host = MockHost()
        async with host.serve() as url, gate_of(tmp_path, route("a", url, upstream_model="org/m")) as gate:
            _, _, stream = await ask(gate.port, STREAM)
            _, _, whole = await ask(gate.port, CHAT)
        events = [orjson.loads(event[6:]) for event in stream.split(b"\n\n") if event.startswith(b"data: {")]
        assert {event["model"] for event in events} == {"chat"}
        assert orjson.loads(whole)["model"] == "chat"
        assert {fields["model"] for _, _, fields in host.seen} == {"org/m"}
        assert told(stream).text == "".join(WORDS)

    run(test())


def test_without_a_name_of_its_own_an_answer_passes_as_it_is(tmp_path):
    async def test():
        host = MockHost()
        async with host.serve() as url, gate_of(tmp_path, route("a", url)) as gate:
            _, _, whole = await ask(gate.port, CHAT)
        assert orjson.loads(whole)["model"] == host.model

    run(test())


def test_a_stream_that_goes_on_elsewhere_keeps_the_clients_name(tmp_path):
    """Two engines that know the model by different names; the first is cut in mid-stream."""

    async def test():
        first, second = CuttingEngine(), CuttingEngine()
        first.cut = 900
        async with first.serve() as a, second.serve() as b:
            routes = [
                route("a", a, engine="vllm", upstream_model="name-at-a", weight=1000.0),
                route("b", b, engine="vllm", upstream_model="name-at-b"),
            ]
            async with gate_of(tmp_path, *routes) as gate:
                asked = STREAM | {"max_tokens": 24, "temperature": 0}
                _, _, body = await ask(gate.port, asked)
        events = [orjson.loads(event[6:]) for event in body.split(b"\n\n") if event.startswith(b"data: {")]
        assert told(body).resumed
        assert {event["model"] for event in events} == {"chat"}

    run(test())


_TEXT = st.text(max_size=30)
_KEYS = _TEXT.filter(lambda key: key != "model")
_LEAVES = (_TEXT, st.integers(-(2**53), 2**53), st.none(), st.sampled_from(['"model":"x"', ', "model": "y"', "\\"]))
_JSON = st.recursive(
    st.one_of(_LEAVES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(_JSON, _TEXT, _TEXT)
def test_nothing_but_the_models_name_is_changed(rest, theirs, ours):
    """Oracle: the JSON, read, changed, compared. Texts that look like the field are in it."""
    asked = ours or "m"
    change = _renamer(asked=asked)
    for pretty in (0, orjson.OPT_INDENT_2):
        whole = orjson.dumps({"choices": rest, "model": theirs, "usage": rest}, option=pretty)
        assert orjson.loads(change(whole)) == {"choices": rest, "model": asked, "usage": rest}


def test_tools_that_a_response_repeats_keep_the_models_they_name():
    change = _renamer(Kind.RESPONSES)
    answer = {"id": "r", "model": "host/model", "tools": [{"type": "image_generation", "model": "gpt-image"}]}
    assert orjson.loads(change(orjson.dumps(answer))) == {**answer, "model": "chat"}
    event = b'event: response.created\ndata: {"response":{"model":"host/model","tools":[{"model":"gpt-image"}]}}\n\n'
    assert change(event * 2) == event.replace(b"host/model", b"chat") * 2


@pytest.mark.parametrize("wants_usage", [False, True])
def test_a_host_that_refuses_stream_options_is_asked_without(tmp_path, wants_usage):
    """The gate alone asks for usage: where the host refuses that, once; where the client asks, it hears the refusal."""

    async def test():
        host = MockHost(refuses=("stream_options",))
        body = STREAM | ({"stream_options": {"include_usage": True}} if wants_usage else {})
        async with host.serve() as url, gate_of(tmp_path, route("a", url)) as gate:
            answers = [await ask(gate.port, body) for _ in range(3)]
            tokens = gate.metrics.counter("polyfleet_tokens", "a", "output").value
        if wants_usage:
            assert [status for status, _, _ in answers] == [400] * 3
            assert len(host.seen) == 3
            return
        assert [told(stream).text for _, _, stream in answers] == ["".join(WORDS)] * 3
        assert ["stream_options" in fields for _, _, fields in host.seen] == [True, False, False, False]
        assert tokens >= 3 * len(WORDS), "counted by events, since the host was not asked"

    run(test())


def test_a_host_is_sent_nothing_that_only_resuming_needs(tmp_path):
    async def test():
        host = MockHost()
        async with host.serve() as url, gate_of(tmp_path, route("a", url)) as gate:
            await ask(gate.port, STREAM)
            await ask(gate.port, CHAT)
        streamed, whole = (fields for _, _, fields in host.seen)
        assert streamed == STREAM | {"stream_options": {"include_usage": True}}
        assert whole == CHAT

    run(test())


def test_a_clients_own_mistake_is_told_as_the_host_tells_it(tmp_path):
    async def test():
        host = MockHost(script=iter([plain(b'{"error":{"message":"no"}}', status="400 Bad Request")]))
        async with host.serve() as url, gate_of(tmp_path, route("a", url)) as gate:
            status, _, body = await ask(gate.port, CHAT)
        assert (status, body) == (400, b'{"error":{"message":"no"}}')

    run(test())

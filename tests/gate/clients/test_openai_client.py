"""The official client in front of real replicas. Oracles: the same request asked whole, or undisturbed."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel
from real_fleet import fleet_in

MESSAGES = [{"role": "user", "content": "What does the function return?"}]
GREEDY = {"model": "m", "temperature": 0, "max_tokens": 24}


@pytest.fixture
def client(fleet):
    with openai.OpenAI(base_url=fleet.url, api_key=fleet.key, max_retries=0) as made:
        yield made


def _chat(client, **more):
    return client.chat.completions.create(messages=MESSAGES, **{**GREEDY, **more})


def _read(chunks):
    """Text, finish and completion tokens of a stream."""
    chunks = list(chunks)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    finish = next(c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason)
    return text, finish, next(c.usage.completion_tokens for c in chunks if c.usage)


def test_a_chat_is_the_same_streamed_and_whole(client):
    whole = _chat(client)
    streamed = _read(_chat(client, stream=True, stream_options={"include_usage": True}))
    assert streamed == (whole.choices[0].message.content, "length", 24)
    assert whole.usage.completion_tokens == 24


def test_the_async_client_reads_what_the_sync_one_reads(fleet, client):
    async def ask():
        async with openai.AsyncOpenAI(base_url=fleet.url, api_key=fleet.key, max_retries=0) as other:
            whole = await other.chat.completions.create(messages=MESSAGES, **GREEDY)
            stream = await other.chat.completions.create(messages=MESSAGES, stream=True, **GREEDY)
            return whole.choices[0].message.content, "".join(
                [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            )

    text = _chat(client).choices[0].message.content
    assert asyncio.run(ask()) == (text, text)


def test_completions_are_the_same_streamed_and_whole(client):
    whole = client.completions.create(prompt="def read(", **GREEDY)
    stream = client.completions.create(prompt="def read(", stream=True, **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == whole.choices[0].text
    assert whole.usage.completion_tokens == 24


def test_a_stop_string_ends_the_text_before_it(client):
    text = _chat(client).choices[0].message.content
    stop = text[10:14]
    stopped = _chat(client, stop=[stop])
    assert stopped.choices[0].message.content == text[: text.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"
    assert _read(_chat(client, stop=[stop], stream=True, stream_options={"include_usage": True}))[:2] == (
        text[: text.index(stop)], "stop",
    )  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_come_for_every_token_and_greedy_takes_the_likeliest(client, stream):
    answer = _chat(client, logprobs=True, top_logprobs=2, stream=stream)
    rows = [
        row
        for chunk in (answer if stream else [answer])
        for choice in chunk.choices
        for row in (choice.logprobs.content if choice.logprobs else None) or ()
    ]
    assert len(rows) == 24
    assert all(row.logprob == max(other.logprob for other in row.top_logprobs) for row in rows)
    text = _chat(client).choices[0].message.content
    assert b"".join(bytes(row.bytes) for row in rows).decode() == text


class _Pair(BaseModel):
    ready: bool
    kind: str


def test_structured_output_parses(client):
    schema = {"type": "object", "properties": {"ready": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
              "required": ["ready", "kind"], "additionalProperties": False}  # fmt: skip
    form = {"type": "json_schema", "json_schema": {"name": "pair", "schema": schema, "strict": True}}
    text = _chat(client, response_format=form, max_tokens=200).choices[0].message.content
    pair = json.loads(text)
    assert set(pair) == {"ready", "kind"}
    assert isinstance(pair["ready"], bool)
    assert pair["kind"] in {"a", "b"}
    streamed = _read(_chat(client, response_format=form, max_tokens=200, stream=True,
                           stream_options={"include_usage": True}))  # fmt: skip
    assert streamed[0] == text


def test_responses_pass_through_whole_and_streamed(client):
    asked = {"model": "m", "input": "Hello", "max_output_tokens": 12, "temperature": 0}
    whole = client.responses.create(**asked)
    events = list(client.responses.create(stream=True, **asked))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert whole.output_text
    assert text == whole.output_text
    assert events[-1].type == "response.completed"


def test_what_the_engine_cannot_do_is_its_own_error(client):
    with pytest.raises(openai.APIStatusError, match="embeddings") as told:
        client.embeddings.create(model="m", input="x")
    assert told.value.status_code == 501
    assert told.value.body["type"] == "not_supported_error"


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["m"]
    assert client.models.retrieve("m").id == "m"


def test_a_strange_key_is_an_authentication_error_before_the_request_is_judged(fleet):
    with openai.OpenAI(base_url=fleet.url, api_key="pf-no", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as told:
            _chat(client)
        assert told.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            _chat(client, model="gone", max_tokens=-1)


def test_a_model_that_is_not_there_is_not_found_and_those_there_are_are_named(client):
    with pytest.raises(openai.NotFoundError, match="there are: m"):
        _chat(client, model="gone")


def test_a_wrong_field_is_a_bad_request_that_names_it(client):
    with pytest.raises(openai.BadRequestError) as told:
        _chat(client, max_tokens=-1)
    assert told.value.param == "max_tokens"


def test_past_its_rate_a_key_gets_a_rate_limit_error_with_the_seconds_to_wait(fleet):
    with openai.OpenAI(base_url=fleet.url, api_key=fleet.rare_key, max_retries=0) as client:
        _chat(client, max_tokens=1)
        with pytest.raises(openai.RateLimitError) as told:
            _chat(client, max_tokens=1)
    assert 1 <= int(told.value.response.headers["retry-after"]) <= 61  # a minute, and the rest of a second


def test_a_replica_killed_in_mid_stream_is_not_seen_in_the_text(tmp_path):
    asked = {"stream": True, "max_tokens": 600, "logit_bias": {"0": -100, "1": -100, "2": -100}}
    with (
        fleet_in(tmp_path) as fleet,
        openai.OpenAI(base_url=fleet.url, api_key=fleet.key, max_retries=0) as client,
    ):
        chunks = list(_chat(client, **asked))
        undisturbed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        stream = _chat(client, **asked)
        first = next(stream)
        fleet.replicas[stream.response.headers["x-polyfleet-route"]].kill()
        rest = [first, *stream]
    assert "".join(c.choices[0].delta.content or "" for c in rest if c.choices) == undisturbed
    resumed = [c.model_extra["polyfleet"]["resumed"] for c in rest if "polyfleet" in c.model_extra]
    assert len(resumed[-1]) == 1

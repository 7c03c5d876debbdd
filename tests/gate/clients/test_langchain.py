"""LangChain's ChatOpenAI in front of real replicas. Oracle: the official client."""

from __future__ import annotations

from typing import Literal

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@pytest.fixture
def chat(fleet):
    return ChatOpenAI(
        model="m", base_url=fleet.url, api_key=fleet.key, temperature=0, max_completion_tokens=24, max_retries=0
    )


@pytest.fixture
def told(fleet):
    """What the official client reads."""
    with openai.OpenAI(base_url=fleet.url, api_key=fleet.key, max_retries=0) as client:
        yield (
            lambda text: (
                client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": text}], temperature=0, max_completion_tokens=24
                )
                .choices[0]
                .message.content
            )
        )


def test_invoke_and_stream_give_the_engines_text(chat, told):
    whole = chat.invoke("The methods of a list are")
    assert whole.content == told("The methods of a list are")
    assert whole.usage_metadata["output_tokens"] == 24
    assert "".join(piece.content for piece in chat.stream("The methods of a list are")) == whole.content


def test_a_batch_keeps_its_order(chat, told):
    asked = ["one", "two", "three"]
    assert [answer.content for answer in chat.batch(asked)] == [told(text) for text in asked]


class Verdict(BaseModel):
    """What is asked for."""

    fits: bool
    size: Literal["small", "large"]


def test_structured_output_is_an_object(fleet):
    chat = ChatOpenAI(model="m", base_url=fleet.url, api_key=fleet.key, temperature=0, max_completion_tokens=200)
    verdict = chat.with_structured_output(Verdict, method="json_schema").invoke("Does it fit?")
    assert isinstance(verdict, Verdict)

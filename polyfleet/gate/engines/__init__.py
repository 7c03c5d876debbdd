"""What differs between engines in a stream and in going on with one: a small file each, never an `if` in the gate."""

from polyfleet.gate.engines.base import Call, Continuation, Engine
from polyfleet.gate.engines.llamacpp import LlamaCpp
from polyfleet.gate.engines.openai import OpenAi
from polyfleet.gate.engines.vllm import Vllm

__all__ = ["Call", "Continuation", "Engine", "engine_of"]

_ENGINES: dict[str, Engine] = {
    "llama.cpp": LlamaCpp(),
    "vllm": Vllm(),
    "vllm-cpu": Vllm(),
    "openai": OpenAi(),
}


def engine_of(name: str) -> Engine:
    """The engine of a route. One that is not known is taken for any OpenAI-compatible one: what cannot be handed over
    then fails honestly."""
    return _ENGINES.get(name, _ENGINES["openai"])

"""`python -m polyfleet.launch.llamacpp_server MODEL.gguf --port N`: llama.cpp's own server, and nothing else.

It answers on 127.0.0.1, or on `--host`, until it is ended. What it cannot do it says on stderr, in llama.cpp's words.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

_HTTP_THREADS_MORE = 64
"""A waiting request holds a thread of its server: without some to spare, its health would not answer under load."""
_CACHE_MIB = 256
"""Prompts kept for reuse; llama.cpp's own default would let a replica grow by 8 GiB."""
_EXACT_BYTES = 64 * 2**20
"""Models up to this size run in 32 bits throughout: what else is in the batch then changes no answer. Larger ones would
pay for it with memory."""
_WARNINGS = 2
"""Log level: 3 and up tells of every request."""


def main(arguments: list[str] | None = None) -> None:
    """Serve until a signal ends the process; exits 1 where the server cannot start."""
    import xllamacpp  # type: ignore[import-untyped, unused-ignore]  # an extra

    asked = _parser().parse_args(arguments)
    params = xllamacpp.CommonParams()
    params.model.path = asked.model
    params.model_alias = set(asked.names)
    params.hostnames = [asked.host]
    params.port = asked.port
    params.reuse_port = True
    params.n_parallel = asked.slots
    params.n_ctx = asked.slots * asked.context  # shared out among the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked.threads
    params.n_threads_http = asked.slots + _HTTP_THREADS_MORE
    params.cache_ram_mib = _CACHE_MIB
    params.endpoint_metrics = True
    params.endpoint_slots = False
    params.cors_origins = ""
    params.fit_params = False
    params.ui = False
    params.verbosity = _WARNINGS
    if os.path.isfile(asked.model) and os.path.getsize(asked.model) <= _EXACT_BYTES:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        sys.exit("llama.cpp: it could not start, for the reason above")
    print(f"llama.cpp: listening on {server.listening_address}", flush=True)
    while True:
        signal.pause()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m polyfleet.launch.llamacpp_server")
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1", help="in a container its own address, or 0.0.0.0")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--context", type=int, default=2048, help="tokens of one slot")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--names", nargs="*", default=[])
    return parser


if __name__ == "__main__":
    main()

"""llama.cpp's server with nothing rounded to 16 bits: `python exact_server.py MODEL.gguf`; prints its address.

Its cache is in 32 bits and its attention takes one sum for each token, so that what it says can be held to a reference.
"""

import signal
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_parallel = 3
params.n_ctx = 3 * 512
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
params.fit_params = False
params.ui = False
params.verbosity = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
signal.pause()

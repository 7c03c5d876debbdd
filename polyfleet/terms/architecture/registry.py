"""Which reader knows which architecture. One table: the name in `architectures`, the `model_type`, the reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from polyfleet.terms.architecture import classic, deepseek, gemma, hybrid, llama, moe, windowed_moe
from polyfleet.terms.architecture.deepseek_v4 import read_deepseek_v4
from polyfleet.terms.architecture.nemotron_h import read_nemotron_h
from polyfleet.terms.architecture.parts import Body
from polyfleet.terms.architecture.reading import Config


@dataclass(frozen=True, slots=True)
class Family:
    """An architecture: its name, the model types that mean it, its reader, and whether it has towers left uncounted."""

    name: str
    model_types: tuple[str, ...]
    read: Callable[[Config], Body]
    towers: bool = False


FAMILIES = (
    Family("BailingMoeV2_5ForCausalLM", ("bailing_moe_v2_5",), hybrid.read_ling),
    Family("BloomForCausalLM", ("bloom",), classic.read_bloom),
    Family("DeciLMForCausalLM", ("nemotron-nas", "deci"), llama.read_nas_llama),
    Family("DeepseekV2ForCausalLM", ("deepseek_v2",), deepseek.read_deepseek),
    Family("DeepseekV3ForCausalLM", ("deepseek_v3", "kimi_k2"), deepseek.read_deepseek),
    Family("DeepseekV32ForCausalLM", ("deepseek_v32",), deepseek.read_deepseek),
    Family("DeepseekV4ForCausalLM", ("deepseek_v4", "deepseek_ref"), read_deepseek_v4),
    Family("Ernie4_5_MoeForCausalLM", ("ernie4_5_moe",), moe.read_ernie45_moe),
    Family("FalconForCausalLM", ("falcon",), classic.read_falcon),
    Family("GPTJForCausalLM", ("gptj",), classic.read_gptj),
    Family("GPTNeoXForCausalLM", ("gpt_neox",), classic.read_gpt_neox),
    Family("Gemma2ForCausalLM", ("gemma2",), gemma.read_gemma2),
    Family("Gemma3ForCausalLM", ("gemma3_text",), gemma.read_gemma3),
    Family("Gemma3ForConditionalGeneration", ("gemma3",), gemma.read_gemma3, towers=True),
    Family("Gemma4ForCausalLM", ("gemma4_text",), gemma.read_gemma4),
    Family("Gemma4ForConditionalGeneration", ("gemma4",), gemma.read_gemma4, towers=True),
    Family("GemmaForCausalLM", ("gemma",), gemma.read_gemma1),
    Family("Glm4MoeForCausalLM", ("glm4_moe",), moe.read_glm4_moe),
    Family("Glm4MoeLiteForCausalLM", ("glm4_moe_lite",), deepseek.read_deepseek),
    Family("GlmMoeDsaForCausalLM", ("glm_moe_dsa",), deepseek.read_deepseek),
    Family("GraniteForCausalLM", ("granite",), llama.read_llama),
    Family("GptOssForCausalLM", ("gpt_oss",), moe.read_gpt_oss),
    Family("KimiK25ForConditionalGeneration", ("kimi_k25",), deepseek.read_deepseek, towers=True),
    Family("KimiK3ForConditionalGeneration", ("kimi_k3",), hybrid.read_kimi_linear, towers=True),
    Family("KimiLinearForCausalLM", ("kimi_linear",), hybrid.read_kimi_linear),
    Family("Llama4ForCausalLM", ("llama4_text",), moe.read_llama4),
    Family("Llama4ForConditionalGeneration", ("llama4",), moe.read_llama4, towers=True),
    Family("LlamaForCausalLM", ("llama",), llama.read_llama),
    Family("MiMoForCausalLM", ("mimo",), llama.read_qwen2),
    Family("MiMoV2FlashForCausalLM", ("mimo_v2_flash",), windowed_moe.read_mimo_v2),
    Family("MiMoV2ForCausalLM", ("mimo_v2",), windowed_moe.read_mimo_v2),
    Family("MiniMaxM2ForCausalLM", ("minimax_m2",), windowed_moe.read_minimax_m2),
    Family("MiniMaxM3ForCausalLM", ("minimax_m3",), windowed_moe.read_minimax_m3),
    Family("MiniMaxM3SparseForCausalLM", (), windowed_moe.read_minimax_m3),
    Family("MiniMaxM3SparseForConditionalGeneration", ("minimax_m3_vl",), windowed_moe.read_minimax_m3, towers=True),
    Family("Ministral3ForCausalLM", ("ministral3",), llama.read_llama),
    Family("Mistral3ForConditionalGeneration", ("mistral3",), llama.read_llama, towers=True),
    Family("MistralForCausalLM", ("mistral",), llama.read_llama),
    Family("MixtralForCausalLM", ("mixtral",), moe.read_mixtral),
    Family("NemotronHForCausalLM", ("nemotron_h",), read_nemotron_h),
    Family("Phi3ForCausalLM", ("phi3",), llama.read_llama),
    Family("PhiForCausalLM", ("phi",), classic.read_phi),
    Family("QWenLMHeadModel", ("qwen",), llama.read_qwen1),
    Family("Qwen2ForCausalLM", ("qwen2",), llama.read_qwen2),
    Family("Qwen3ForCausalLM", ("qwen3",), llama.read_qwen3),
    Family("Qwen3MoeForCausalLM", ("qwen3_moe",), moe.read_qwen3_moe),
    Family("Qwen3NextForCausalLM", ("qwen3_next",), hybrid.read_qwen_hybrid),
    Family("Qwen3VLForConditionalGeneration", ("qwen3_vl",), llama.read_qwen3, towers=True),
    Family("Qwen3VLMoeForConditionalGeneration", ("qwen3_vl_moe",), moe.read_qwen3_moe, towers=True),
    Family("Qwen3_5ForCausalLM", ("qwen3_5_text",), hybrid.read_qwen_hybrid),
    Family("Qwen3_5ForConditionalGeneration", ("qwen3_5",), hybrid.read_qwen_hybrid, towers=True),
    Family("Qwen3_5MoeForCausalLM", ("qwen3_5_moe_text",), hybrid.read_qwen_hybrid),
    Family("Qwen3_5MoeForConditionalGeneration", ("qwen3_5_moe",), hybrid.read_qwen_hybrid, towers=True),
    Family("SmolLM3ForCausalLM", ("smollm3",), llama.read_llama),
    Family("Step3p7FlashForCausalLM", ("step3p7",), windowed_moe.read_step3),
)

BY_NAME = {family.name: family for family in FAMILIES}
BY_TYPE = {kind: family for family in FAMILIES for kind in family.model_types}

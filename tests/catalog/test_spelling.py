"""A misspelt name is answered with the one that was meant, or with none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.catalog.chips import find_chip, load_chips
from polyfleet.catalog.models import find_model, list_models
from polyfleet.catalog.regions import check_region
from polyfleet.catalog.search import find_provider
from polyfleet.catalog.spelling import closest
from polyfleet.catalog.store import load_catalog
from polyfleet.errors import InputError


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("llama 3.3 70b", "meta-llama/Llama-3.3-70B-Instruct"),
        ("meta/llama-3.3-70b-instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("Lama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("qwen/qwen-3-32b", "Qwen/Qwen3-32B"),
        ("Qwen/Qwen3-8C", "Qwen/Qwen3-8B"),
        ("gpt oss 120b", "openai/gpt-oss-120b"),
        ("openai/gpt-oss-120", "openai/gpt-oss-120b"),
        ("deepsek-r1", "deepseek-ai/DeepSeek-R1"),
        ("gemma 3 27b", "google/gemma-3-27b-it"),
        ("mixtral 8x7b", "mistralai/Mixtral-8x7B-v0.1"),
    ],
)
def test_a_model_is_found_by_its_words_and_numbers(wanted, meant):
    with pytest.raises(InputError, match="unknown model") as error:
        find_model(wanted)
    assert str(error.value.hint).startswith(f"did you mean {meant}")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("mi300", "MI300X"), ("nvidia h200", "H200-SXM"), ("amd mi300x", "MI300X"), ("L40", "L40S"), ("tpu v6", "TPU-v6e"),
     ("inferentia", "Inferentia2"), ("H1000", "H100"), ("H100 PCI", "H100-PCIe")],
)  # fmt: skip
def test_a_chip_is_found_without_its_vendor_or_its_end(wanted, meant):
    with pytest.raises(InputError, match="unknown chip") as error:
        find_chip(wanted)
    assert meant in str(error.value.hint).removesuffix("?").replace("did you mean ", "").split(" or ")


@pytest.mark.parametrize("written", ["H100 SXM", "h100_sxm", "h100-SXM", "H100"])
def test_case_spaces_and_dashes_do_not_matter(written):
    assert find_chip(written).name == "H100-SXM"


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("amazon", "aws"), ("Google Cloud", "gcp"), ("microsoft", "azure"), ("oracle", "oci"), ("azur", "azure"),
     ("lambda labs", "lambda"), ("nebious", "nebius"), ("togetherai", "together")],
)  # fmt: skip
def test_a_provider_is_found_as_people_call_it(wanted, meant):
    with pytest.raises(InputError, match="unknown provider") as error:
        find_provider(load_catalog(), wanted)
    assert error.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize(
    ("wanted", "meant"), [("germny", "Germany"), ("us-eastt-1", "us-east1"), ("eu-west", "eu-west1")]
)
def test_a_region_is_found(wanted, meant):
    with pytest.raises(InputError, match="unknown region") as error:
        check_region(wanted)
    assert str(error.value.hint).startswith(f"did you mean {meant}")


@pytest.mark.parametrize("wanted", ["atlantis", "antarctica", "qqqq", ""])
def test_what_nothing_resembles_gets_no_guess(wanted):
    names = [*load_chips(), *list_models(), "Germany", "qatarcentral", "us-east1"]
    assert closest(wanted, names) == []


@given(st.sampled_from(sorted(list_models())), st.data())
def test_one_wrong_letter_still_finds_the_model(name, data):
    at = data.draw(st.integers(0, len(name) - 1))
    wanted = name[:at] + data.draw(st.sampled_from("qz")) + name[at + 1 :]
    near = closest(wanted, list_models(), most=len(list_models()))
    if name[at].isalpha() and "/" in wanted:
        assert name in near


@given(st.text(max_size=30))
def test_any_text_gives_known_names_or_none(wanted):
    names = list(load_chips())
    assert set(closest(wanted, names)) <= set(names)

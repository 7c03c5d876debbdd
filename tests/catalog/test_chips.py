import pytest

from polyfleet.catalog.chips import chip_names, find_chip, load_chips
from polyfleet.catalog.reading import read_table
from polyfleet.catalog.spelling import squeezed
from polyfleet.errors import CatalogError

# The names in the column `hardware` of the measured rows.
MEASURED = [
    "H100-SXM",
    "H200-SXM",
    "B200",
    "MI300X",
    "A100-SXM-80GB",
    "Inferentia2",
    "A10G",
    "L40S",
    "Gaudi2",
    "TPU v6e",
    "GB200",
    "MI355X",
    "A100-PCIe-80GB",
    "Trainium1",
    "Radeon AI PRO R9700",
    "Gaudi3",
    "MI325X",
    "RTX-PRO-6000",
    "TPU v7",
    "H200-NVL",
    "A100-SXM-40GB",
    "Trainium2",
    "TPU v5e",
    "RX 9070 XT",
    "GB300",
    "B300",
    "T4",
    "MI350X",
    "L4",
]
# The names in the column `chip` of the raw price lists, with the chip each one is.
PRICED = {
    "RTXPRO6000-96GB": "RTX-PRO-6000",
    "V100-16GB": "V100-16GB",
    "V100-32GB": "V100-32GB",
    "A100-80GB-PCIe": "A100-PCIe-80GB",
    "A100-40GB-PCIe": "A100-PCIe-40GB",
    "A100-40GB": "A100-SXM-40GB",
    "A100-80GB": "A100-SXM-80GB",
    "H100-SXM-80GB": "H100-SXM",
    "H100-PCIe-80GB": "H100-PCIe",
    "H100-NVL-94GB": "H100-NVL",
    "H200-SXM-141GB": "H200-SXM",
    "B200-SXM-180GB": "B200",
    "B300-SXM": "B300",
    "QualcommAI100-Std": "Qualcomm-AI100-Standard",
}


@pytest.mark.parametrize("name", MEASURED)
def test_every_measured_chip_is_known(name: str) -> None:
    assert find_chip(name).name in load_chips()


@pytest.mark.parametrize(("name", "chip"), PRICED.items())
def test_every_priced_chip_is_joined(name: str, chip: str) -> None:
    assert find_chip(name).name == chip


def test_a_chip_is_found_whatever_its_case_and_dashes() -> None:
    assert find_chip("rtx pro_6000") is find_chip("RTX-PRO-6000") is find_chip("RTXPRO6000")


def test_an_unknown_chip_names_the_closest() -> None:
    with pytest.raises(CatalogError, match=r"unknown chip \(got 'MI300'\); did you mean MI300X\?"):
        find_chip("MI300")


def test_no_alias_shadows_a_chip_or_means_two() -> None:
    aliases = [squeezed(row["alias"]) for row in read_table("chip_aliases.csv")]
    canonical = {squeezed(name): name for name in load_chips()}
    assert len(aliases) == len(set(aliases))
    assert all(canonical.get(a, chip_names()[a]) == chip_names()[a] for a in aliases)
    assert set(chip_names().values()) == set(load_chips())


@pytest.mark.parametrize(
    ("name", "memory_gib", "bandwidth_gb_s", "bf16", "fp8"),
    [
        ("H100-SXM", 80, 3350, 989.4, 1978.9),  # NVIDIA H100 datasheet, dense
        ("MI300X", 192, 5300, 1307.4, 2614.9),  # AMD MI300X datasheet, dense
        ("Trainium2", 96, 2900, 667, 1299),  # AWS Neuron architecture page
        ("TPU-v7", 192, 7380, 2307, 4614),  # Google TPU7x page
    ],
)
def test_datasheet_figures(name: str, memory_gib: float, bandwidth_gb_s: float, bf16: float, fp8: float) -> None:
    chip = find_chip(name)
    assert (chip.memory_gib, chip.bandwidth_gb_s) == (memory_gib, bandwidth_gb_s)
    assert (chip.rate_tflops("bf16"), chip.rate_tflops("fp8")) == (bf16, fp8)


def test_chips_without_a_format_have_no_rate_for_it() -> None:
    assert "fp8" not in find_chip("A100-SXM-80GB").tflops
    assert "bf16" not in find_chip("T4").tflops
    assert find_chip("T4").rate_tflops("bf16") == 65


def test_devices_a_chip_counts_as_its_vendor_does() -> None:
    counted = {name: chip.cores for name, chip in load_chips().items() if chip.cores > 1}
    assert counted == {"MI250": 2, "Inferentia2": 2, "Trainium1": 2, "Trainium2": 4, "Trainium3": 4, "TPU-v7": 2}


def test_every_chip_has_what_a_speed_estimate_needs() -> None:
    for chip in load_chips().values():
        assert chip.memory_gib > 0
        assert chip.bandwidth_gb_s > 0
        assert chip.link_gb_s > 0
        assert chip.domain_chips >= 1
        assert chip.rate_tflops("bf16") > 0
        assert chip.source
        assert chip.as_of

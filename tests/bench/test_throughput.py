"""What `bench` prints and writes, on real rows in real processes."""

import json

import pytest
import torch
from torch import nn

from cifar_hpc.bench.peak import matrix_product_peak, training_flops
from cifar_hpc.bench.plain import plain_network
from cifar_hpc.data.arrays import CIFARArrays
from cifar_hpc.models import ResNet18, SmallCNN
from tests.conftest import Command, Refuse


def test_flops_are_those_counted_by_hand() -> None:
    conv1, conv2, conv3 = 30 * 30 * 27 * 32, 13 * 13 * 288 * 64, 4 * 4 * 576 * 64
    all_layers = conv1 + conv2 + conv3 + 1024 * 64 + 64 * 10
    # A multiplication and an addition; forward, for the weights, and for the inputs but the images themselves.
    assert training_flops(SmallCNN()) == 2 * (3 * all_layers - conv1)


def test_flops_of_the_network_as_written() -> None:
    # 0.0372 GFLOP forward on 32 × 32 with ImageNet's stem, as torchvision's 1.8 GMAC at 224 × 224 scale down.
    assert training_flops(ResNet18()) == pytest.approx(3 * 2 * 1.81e9 * (32 / 224) ** 2, rel=0.05)


def test_bf16_has_a_peak_too() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert matrix_product_peak(dtype, seconds=0.05) > 1e9


def test_the_plain_small_cnn_is_the_same_function() -> None:
    torch.manual_seed(0)
    model = SmallCNN()
    plain = plain_network(model)
    layers = [layer for layer in plain.children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    ours: list[nn.Conv2d | nn.Linear] = [model.conv1, model.conv2, model.conv3, model.hidden, model.output]
    for mine, theirs in zip(ours, layers, strict=True):
        weight = mine.weight.detach()
        if mine is model.hidden:  # Keras flattens height, width, channel; torch's Flatten channel first
            weight = weight.view(64, 4, 4, 64).permute(0, 3, 1, 2).reshape(64, 1024)
        theirs.load_state_dict({"weight": weight, "bias": mine.bias})
    images = torch.rand(4, 3, 32, 32)
    assert torch.allclose(plain(images), model(images), atol=1e-5)


@pytest.mark.data
def test_bench_measures_each_experiment_once(command: Command, cifar10: CIFARArrays) -> None:
    done = command(
        *("bench", "--row", "ghugre_sequential", "ghugre_parallel"),
        *("--turns", "2", "--seconds", "0.1", "--json", "-"),
    )
    assert done.status == 0, done.err
    found = json.loads(done.out)
    first, second = found["rows"]
    assert (first["row"], second["row"]) == ("ghugre_sequential", "ghugre_parallel")
    assert first["measured_as"] == second["measured_as"] == "ghugre_sequential"
    assert found["geometric_mean_ratio"] == pytest.approx(first["ratio"])
    low, high = first["ratio_quartiles"]
    assert 0 < low <= first["ratio"] <= high
    rate = first["ours_images_per_second"]
    expected = rate * first["training_gflop_per_image"] * 1e9 / (first["peak_tflops"] * 1e12)
    assert first["peak_share"] == pytest.approx(expected)
    assert found["overlay"].endswith("configs/fast.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--row", "nonsense"], "nonsense"),
        (["--turns", "1"], "--turns must be at least 2"),
        (["--overlay", "nowhere.yaml"], "--overlay nowhere.yaml does not exist"),
    ],
)
def test_bad_requests(refuse: Refuse, arguments: list[str], words: str) -> None:
    assert words in refuse("bench", *arguments)

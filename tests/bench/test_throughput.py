"""What `bench` prints and writes, on real rows in real processes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from cifar_hpc.bench import peak
from cifar_hpc.bench.peak import training_flops
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("quicker", ["product", "convolution"])
def test_the_peak_is_the_best_rate_of_the_quicker_way(
    dtype: torch.dtype, quicker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By a clock of its own, as how fast this processor is, is not asked: it goes on whenever somebody looks, and a
    # convolution moves it forwards or backwards.
    now, convolve = 0.0, torch.conv2d
    look, longer = (1.0, 2.0) if quicker == "product" else (4.0, -3.0)

    def clock() -> float:
        nonlocal now
        now += look
        return now

    def timed_convolution(image: Tensor, kernel: Tensor) -> Tensor:
        nonlocal now
        now += longer
        assert image.dtype == kernel.dtype == dtype
        return convolve(image, kernel)

    monkeypatch.setattr(peak, "_SIZE", 16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "conv2d", timed_convolution)
    monkeypatch.setattr("cifar_hpc.bench.peak.time", SimpleNamespace(perf_counter=clock))
    assert peak.matrix_product_peak(dtype, seconds=20) == 2 * 16**3 / 1.0


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
    assert torch.allclose(plain.double()(images.double()), model(images).double(), atol=1e-5)


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


@pytest.mark.data
def test_bench_holds_our_kernels_against_stock_ones(command: Command, cifar10: CIFARArrays) -> None:
    options = ("--turns", "2", "--seconds", "0.1", "--against", "stock", "--json", "bench.json")
    done = command("bench", "--row", "ghugre_sequential", *options)
    assert done.status == 0, done.err
    assert "geometric mean of ours / stock over 1 experiments" in done.out
    assert json.loads(Path("bench.json").read_text())["against"] == "stock"


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

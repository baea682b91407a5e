"""The means of the speedrun, each by itself."""

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from cifar_hpc.data.augment import BatchTransform
from cifar_hpc.data.loaders import Batch
from cifar_hpc.data.sample import load_sample
from cifar_hpc.models import Airbench
from cifar_hpc.models.airbench_network import AirbenchNetwork, Conv3x3, Whitening
from cifar_hpc.models.evaluation import logits_over_views
from tests.conftest import ROOT

RECIPE = yaml.safe_load((ROOT / "configs" / "speedrun" / "cifar10_94.yaml").read_text())


def sample_images() -> Tensor:
    images = torch.from_numpy(load_sample("cifar10").train_images)
    return BatchTransform(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))(images)


def test_whitening_makes_the_outputs_uncorrelated() -> None:
    images, whitening = sample_images(), Whitening()
    before = whitening.weight.clone()
    whitening.fit(images)
    assert not torch.equal(whitening.weight, before)
    outputs = F.conv2d(images.double(), whitening.weight.detach().double())
    assert outputs.shape[1:] == (24, 31, 31)
    assert torch.equal(outputs[:, 12:], -outputs[:, :12])
    covariance = torch.cov(outputs[:, :12].transpose(0, 1).flatten(1))
    assert (covariance - covariance.diagonal().diag()).abs().max() < 1e-3
    # Unit variance, but for the directions with so little contrast that the 5e-4 in the divisor counts.
    patches = [
        images.double()[:, c, i : i + 31, j : j + 31].flatten() for c in range(3) for i in range(2) for j in range(2)
    ]
    variances = torch.linalg.eigvalsh(torch.cov(torch.stack(patches)))
    assert torch.allclose(covariance.diagonal(), variances / (variances + 5e-4), atol=1e-3)
    assert (covariance.diagonal()[variances > 0.02] - 1).abs().max() < 0.03


def test_only_the_whitenings_bias_is_trained_and_only_when_asked() -> None:
    network = AirbenchNetwork()
    assert not network.whitening.weight.requires_grad
    network(sample_images()[:8]).square().sum().backward()
    assert network.get_parameter("whitening.bias").grad is None
    network(sample_images()[:8], train_whitening_bias=True).square().sum().backward()
    gradient = network.get_parameter("whitening.bias").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_a_new_convolution_passes_its_input_through() -> None:
    x = torch.randn(2, 5, 7, 7)
    output = Conv3x3(5, 9)(x)
    assert torch.allclose(output[:, :5], x, atol=1e-6)
    assert output[:, 5:].std() > 0.1


def test_the_matrix_of_filters_is_the_convolutions_weight() -> None:
    convolution, x = Conv3x3(3, 4), torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        convolution.filters.copy_(torch.randn(4, 27))
    patch = x[0, :, 2:5, 1:4].permute(1, 2, 0).flatten()  # rows, columns, channels
    expected = convolution.filters.double() @ patch.double()
    assert torch.allclose(convolution(x)[0, :, 3, 2].double(), expected, atol=1e-5)  # 27 products of 24 bits
    convolution.normalise()
    assert convolution.filters.detach().square().sum(1).mean() == pytest.approx(1)


def test_muon_takes_steps_with_all_singular_values_near_one() -> None:
    settings = RECIPE["model"]["init_args"]["filter_optimizer"]
    assert settings["class_path"] == "torch.optim.Muon"
    convolution = Conv3x3(64, 256)
    before = convolution.filters.detach().clone()
    optimizer = torch.optim.Muon([convolution.filters], **settings["init_args"])
    torch.manual_seed(0)
    convolution.filters.grad = torch.randn_like(before) * torch.logspace(-1, 1, len(before))[:, None]
    optimizer.step()
    step = (before - convolution.filters.detach()) / settings["init_args"]["lr"]
    values = torch.linalg.svdvals(step)
    assert torch.linalg.cond(convolution.filters.grad) > 100
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_augmented_logits_are_the_mean_that_they_claim_to_be() -> None:
    images, weight = torch.rand(4, 3, 32, 32).double(), torch.randn(10, 3, 32, 32).double()

    def network(views: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", views, weight).tanh()

    def shifted(by: int) -> Tensor:
        """What a window that is moved by so many pixels down and right sees, the border reflected."""
        places = [abs(i + by) if i + by < 32 else 62 - (i + by) for i in range(32)]
        return images[:, :, places][:, :, :, places]

    def with_mirror(views: Tensor) -> Tensor:
        return (network(views) + network(views[..., list(range(31, -1, -1))])) / 2

    expected = with_mirror(images) / 2 + (with_mirror(shifted(-1)) + with_mirror(shifted(1))) / 4
    assert torch.allclose(
        logits_over_views(network, images, network(images)), expected, atol=1e-6
    )  # added up in 24 bits


def test_images_grow_over_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, seen = Airbench(resolutions=(24, 28)), torch.rand(2, 3, 32, 32), []
    for epoch in range(4):
        monkeypatch.setattr(Airbench, "current_epoch", epoch)
        seen.append(model.scale_down(images).shape[-1])
        assert model.network(model.scale_down(images)).shape == (2, 10)
    assert seen == [24, 28, 28, 28]
    monkeypatch.setattr(Airbench, "current_epoch", 0)
    # 32 → 24 by bilinear interpolation: every third output lies between two pixels' centres alike.
    assert torch.allclose(model.scale_down(images)[:, :, 1, 1], images[:, :, 1:3, 1:3].mean(dim=(2, 3)), atol=1e-6)


def test_jitter_changes_each_image_as_a_whole() -> None:
    images = torch.randn(500, 3, 4, 4)
    assert torch.equal(Airbench().jitter(images), images)
    jittered = Airbench(brightness=0.14, contrast=0.13).jitter(images)
    change = jittered.flatten(1).std(1) / images.flatten(1).std(1)
    shift = jittered.flatten(1).mean(1) / change - images.flatten(1).mean(1)
    assert 0.12 < (change - 1).abs().max() <= 0.13 + 1e-5
    assert 0.13 < shift.abs().max() <= 0.14 + 1e-5
    assert torch.allclose(jittered, (images + shift[:, None, None, None]) * change[:, None, None, None], atol=1e-4)


def test_smoothed_labels_enter_the_loss() -> None:
    model, images = Airbench(label_smoothing=0.3).eval(), torch.rand(4, 3, 32, 32)
    loss, logits = model.training_loss(Batch(images, torch.arange(4), torch.arange(4)))
    log = logits.log_softmax(1)
    assert torch.allclose(loss, -0.7 * log.diagonal().mean() - 0.3 * log.mean())

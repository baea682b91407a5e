import torch
from torch import nn

from cifar_hpc.models import SmallCNN
from cifar_hpc.models.first_convolution import Float32Conv2d, keep_first_convolution_in_float32


def test_only_answers_are_rounded_under_autocast() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 8, 3)
    ours = Float32Conv2d(3, 8, 3)
    ours.load_state_dict(plain.state_dict())
    images = torch.rand(4, 3, 8, 8)
    exact = plain(images)
    assert torch.equal(ours(images), exact)
    with torch.autocast("cpu", torch.bfloat16):
        answers = ours(images)
        autocast = plain(images)
    assert torch.equal(answers, exact.bfloat16())
    assert not torch.equal(autocast, exact.bfloat16())


def test_the_systematic_error_of_bf16_gradients_shrinks() -> None:
    # The measure by which this layer was found: how far the mean gradient over many batches is off.
    torch.manual_seed(0)
    network = SmallCNN()
    images, labels = torch.rand(640, 3, 32, 32), torch.randint(0, 10, (640,))

    def mean_gradient(bf16: bool) -> torch.Tensor:
        network.zero_grad()
        for x, y in zip(images.split(64), labels.split(64), strict=True):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                nn.functional.cross_entropy(network(x), y).backward()
        gradient = network.conv1.weight.grad
        assert gradient is not None
        return gradient.clone()

    exact = mean_gradient(bf16=False)
    before = (mean_gradient(bf16=True) - exact).norm() / exact.norm()
    keep_first_convolution_in_float32(network)
    after = (mean_gradient(bf16=True) - exact).norm() / exact.norm()
    assert after < 0.8 * before

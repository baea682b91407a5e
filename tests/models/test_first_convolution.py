import torch
from torch import Tensor, nn

from cifar_hpc.data.sample import load_sample
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


def test_the_error_that_all_images_share_shrinks() -> None:
    # What training drifts by: the error of a filter's answers that does not average out over real images.
    torch.manual_seed(0)
    network = SmallCNN()
    images = torch.from_numpy(load_sample("cifar10").train_images).permute(0, 3, 1, 2) / 255

    def answers(bf16: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            answers: Tensor = network.conv1(images)
            return answers.detach().double()

    exact = answers(bf16=False)
    before = (answers(bf16=True) - exact).mean(dim=(0, 2, 3)).norm()
    keep_first_convolution_in_float32(network)
    after = (answers(bf16=True) - exact).mean(dim=(0, 2, 3)).norm()
    assert after < 0.1 * before


def test_a_first_convolution_of_another_class_is_left_alone() -> None:
    class Whitening(nn.Conv2d):
        pass

    network = nn.Sequential(Whitening(3, 4, 3), nn.Conv2d(4, 4, 3))
    keep_first_convolution_in_float32(network)
    assert [type(layer) for layer in network] == [Whitening, nn.Conv2d]

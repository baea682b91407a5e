"""Parameter counts, agreement with independent references, and shapes stage by stage."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from cifar_hpc.models import (
    VGG16,
    VGG19,
    AlexNet,
    Classifier,
    GoogLeNet,
    PlainMiniXception,
    ResNet18,
    ResNet50,
    SeparableMiniXception,
    SmallCNN,
)
from cifar_hpc.speed.pooling import ChannelsLastAveragePooling


@pytest.mark.parametrize(
    ("network", "arguments", "parameters"),
    [
        (SmallCNN, {}, 122_570),
        (SeparableMiniXception, {}, 94_474),
        (PlainMiniXception, {}, 391_050),
        (VGG16, {}, 14_728_266),
        (VGG19, {}, 20_040_522),
        (GoogLeNet, {}, 6_166_250),
        (ResNet18, {}, 11_181_642),
        (ResNet50, {}, 23_528_522),
        (ResNet18, {"stem": "cifar"}, 11_173_962),
        (AlexNet, {}, 57_044_810),
    ],
)
def test_parameters(network: type[Classifier], arguments: dict[str, str], parameters: int) -> None:
    with torch.device("meta"):
        built = network(**arguments)  # type: ignore[arg-type]
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == parameters


@pytest.mark.parametrize(
    ("ours", "theirs", "size"),
    [
        (ResNet18, torchvision.models.resnet18, 32),
        (ResNet50, torchvision.models.resnet50, 32),
        (AlexNet, torchvision.models.alexnet, 224),
    ],
)
def test_same_weights_give_torchvisions_logits(ours: type[Classifier], theirs: object, size: int) -> None:
    torch.manual_seed(0)
    network = ours().eval()
    reference = theirs(num_classes=10).eval().double()  # type: ignore[operator]
    reference.load_state_dict({key.removeprefix("network."): value for key, value in network.state_dict().items()})
    images = torch.rand(4, 3, 32, 32)
    enlarged = torchvision.transforms.functional.resize(images.double(), [size, size], antialias=True)
    with torch.no_grad():
        assert torch.allclose(network(images).double(), reference(enlarged), atol=1e-5)


def outputs(network: nn.Module, names: list[str]) -> list[tuple[int, ...]]:
    """Shapes of the outputs of some modules for two images."""
    shapes: list[tuple[int, ...]] = []
    for name in names:
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape)))
    network.eval()
    with torch.no_grad():
        network(torch.zeros(2, 3, 32, 32))
    return shapes


def test_shapes_of_vgg() -> None:
    pools = [name for name, module in VGG16().named_modules() if isinstance(module, nn.MaxPool2d)]
    sizes = [(2, 64, 16, 16), (2, 128, 8, 8), (2, 256, 4, 4), (2, 512, 2, 2), (2, 512, 1, 1)]
    assert outputs(VGG16(), pools) == sizes


def test_shapes_of_googlenet() -> None:
    stages = ["stem", "stage3", *(f"stage4.{i}" for i in range(5)), "stage5", "output"]
    assert outputs(GoogLeNet(), stages) == [
        (2, 192, 32, 32), (2, 480, 32, 32), (2, 512, 16, 16), (2, 512, 16, 16), (2, 512, 16, 16),
        (2, 528, 16, 16), (2, 832, 16, 16), (2, 1024, 8, 8), (2, 10),
    ]  # fmt: skip


def test_auxiliary_heads_add_to_the_loss_in_training_only() -> None:
    from cifar_hpc.data.loaders import Batch

    torch.manual_seed(0)
    network = GoogLeNet(auxiliary=True)
    batch = Batch(torch.rand(4, 3, 32, 32), torch.arange(4), torch.arange(4))
    loss, logits = network.training_loss(batch)
    main = torch.nn.functional.cross_entropy(logits, batch.labels)
    assert loss > main + 0.3
    network.eval()
    with torch.no_grad():
        assert network(batch.images).shape == (4, 10)


def test_shapes_of_the_mini_xceptions() -> None:
    assert outputs(SeparableMiniXception(), ["entry", "middle", "exit", "hidden", "output"]) == [
        (2, 64, 32, 32), (2, 64, 32, 32), (2, 128, 32, 32), (2, 64), (2, 10),
    ]  # fmt: skip
    assert outputs(PlainMiniXception(), ["features", "output"]) == [(2, 128, 16, 16), (2, 10)]


def test_keras_same_pooling() -> None:
    """Against Keras' rule, computed window by window: the last window hangs over at the bottom and the right."""
    network = SeparableMiniXception().eval()
    kept: dict[str, Tensor] = {}
    network.exit.register_forward_hook(lambda _, __, output: kept.update(before=output))
    network.hidden.register_forward_pre_hook(lambda _, inputs: kept.update(after=inputs[0]))
    with torch.no_grad():
        network(torch.rand(1, 3, 32, 32))
    before = kept["before"].double()
    windows = [before[..., 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax(dim=(2, 3)) for i in range(16) for j in range(16)]
    assert torch.allclose(torch.stack(windows).mean(dim=0), kept["after"].double(), atol=1e-5)


def test_global_pooling_gives_channels_last_images_gradients_in_channels_last_order() -> None:
    # Max-pooling below would copy everything from one order to the other otherwise.
    images = torch.rand(2, 8, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    pooled = images * 1
    gradients: list[Tensor] = []
    pooled.register_hook(gradients.append)
    means = ChannelsLastAveragePooling()(pooled)
    assert torch.allclose(means.double(), images.double().mean(dim=(2, 3)))
    (means * torch.arange(8)).sum().backward()
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(gradients[0][0, 3], torch.full((5, 5), 3 / 25))


def test_pooling_of_the_separable_network_is_keras_same() -> None:
    # Keras pads at the bottom and the right alone.
    x = torch.randn(2, 3, 32, 32)
    padded = F.pad(x, (0, 1, 0, 1), value=-torch.inf)
    assert torch.equal(F.max_pool2d(x, 3, stride=2, ceil_mode=True), F.max_pool2d(padded, 3, stride=2))

import torch
from torch import nn

from cifar_hpc.models.lookahead import Lookahead


def test_a_pull_sets_weights_and_statistics_to_the_slow_ones() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(3, 4)
    network = nn.Sequential(linear, nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lookahead = Lookahead(network, decay=0.7)
    network(torch.randn(8, 3))  # moves the running statistics
    with torch.no_grad():
        linear.weight.add_(1.0)
    fast = {name: value.clone() for name, value in network.state_dict().items()}
    lookahead.pull()
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == 1
        else:
            # Sums of numbers up to 2, of 24 bits.
            assert torch.allclose(value.double(), 0.7 * before[name].double() + 0.3 * fast[name].double(), atol=1e-6)
            assert torch.equal(value, lookahead.slow[name])
    assert not torch.equal(fast["1.running_mean"], before["1.running_mean"])


def test_the_slow_weights_remember_earlier_pulls() -> None:
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
        lookahead = Lookahead(network, decay=0.5)
        for _ in range(2):
            network.weight.add_(1.0)
            lookahead.pull()
    # 0 → 1 → 0.5 → 1.5 → 1.0
    assert network.weight.item() == 1.0

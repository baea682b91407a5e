import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from cifar_hpc.data.loaders import GlobalBatches, Share
from cifar_hpc.data.order import EpochOrder, epoch_seed, holdout_split


def order(seed: int = 1, epoch: int = 0, images: int = 1000) -> EpochOrder:
    made = EpochOrder(images, seed, shuffle=True, crop_padding=4)
    made.set_epoch(epoch)
    return made


def test_epoch_depends_on_seed_and_epoch_alone() -> None:
    first = order(1, 5)
    for epoch in range(5):  # drawing others before it changes nothing
        first.set_epoch(epoch)
        first.draw()
    first.set_epoch(5)
    again = order(1, 5).draw()
    assert torch.equal(first.draw().indices, again.indices)
    assert torch.equal(first.draw().flip, again.flip)
    assert not torch.equal(order(1, 6).draw().indices, again.indices)
    assert not torch.equal(order(2, 5).draw().indices, again.indices)


@pytest.mark.parametrize("seed", [1, 2])
def test_alternating_flip_shows_each_side_in_every_other_epoch(seed: int) -> None:
    alternating = EpochOrder(1000, seed, shuffle=True, crop_padding=2, alternating_flip=True)
    sides = []
    for epoch in range(5):
        alternating.set_epoch(epoch)
        draws = alternating.draw()
        side = torch.empty(1000, dtype=torch.bool)
        side[draws.indices] = draws.flip
        sides.append(side)
    for epoch in range(4):
        assert torch.equal(sides[epoch + 1], ~sides[epoch])
    assert 430 < sides[0].sum() < 570
    other = EpochOrder(1000, seed + 1, shuffle=True, crop_padding=2, alternating_flip=True).draw()
    side = torch.empty(1000, dtype=torch.bool)
    side[other.indices] = other.flip
    assert not torch.equal(side, sides[0])


def test_alternating_flip_changes_no_other_draw() -> None:
    plain = EpochOrder(100, 1, shuffle=True, crop_padding=2).draw()
    alternating = EpochOrder(100, 1, shuffle=True, crop_padding=2, alternating_flip=True).draw()
    for name in ("indices", "top", "left"):
        assert torch.equal(getattr(plain, name), getattr(alternating, name))


def test_epoch_shows_every_image_once() -> None:
    assert torch.equal(order().draw().indices.sort().values, torch.arange(1000))


def test_seeds_of_neighbouring_epochs_are_distinct() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in range(30) for epoch in range(300)}
    assert len(seeds) == 30 * 300


@given(st.integers(1, 200), st.integers(1, 64), st.sampled_from([1, 2, 4]))
def test_processes_share_global_batches(images: int, batch_size: int, processes: int) -> None:
    shown = order(images=images)
    whole = [draws.indices for draws in GlobalBatches(shown, Share(batch_size)).draws()]
    assert torch.equal(torch.cat(whole).sort().values, torch.arange(images))
    shares = [list(GlobalBatches(shown, Share(batch_size, r, processes)).draws()) for r in range(processes)]
    for number, batch in enumerate(whole):
        together = torch.cat([share[number].indices for share in shares])
        assert torch.equal(together.sort().values, batch.sort().values)


@pytest.mark.parametrize(("images", "holdout", "seed"), [(50_000, 10_000, 42), (500, 100, 42), (1000, 50, 7)])
def test_holdout_is_scikit_learns(images: int, holdout: int, seed: int) -> None:
    train, held = train_test_split(range(images), test_size=holdout, random_state=seed)
    ours_train, ours_held = holdout_split(images, holdout, seed)
    assert ours_train.tolist() == train
    assert ours_held.tolist() == held

"""Networks under a user's own Trainer and loaders: plain images and labels in, metrics out."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from cifar_hpc.data.datamodule import CIFARDataModule
from cifar_hpc.data.sample import load_sample
from cifar_hpc.models import SmallCNN


def loader(batch_size: int = 64, train: bool = False) -> DataLoader[tuple[torch.Tensor, ...]]:
    content = load_sample("cifar10")
    images, labels = (
        (content.train_images, content.train_labels) if train else (content.test_images, content.test_labels)
    )
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return DataLoader(TensorDataset(pixels, torch.from_numpy(labels).long()), batch_size, shuffle=train)


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )


def test_fit_validate_test_and_predict_take_plain_batches(trainer: Trainer) -> None:
    torch.manual_seed(0)
    network = SmallCNN()
    trainer.fit(network, loader(train=True), loader())
    assert {"train/loss", "train/accuracy", "val/accuracy"} <= set(trainer.callback_metrics)
    (validated,) = trainer.validate(network, loader(), verbose=False)
    (tested,) = trainer.test(network, loader(), verbose=False)
    assert set(tested) == {f"test/{m}" for m in ("loss", "accuracy", "top5_accuracy", "precision", "recall", "f1")}
    assert {key.partition("/")[2]: value for key, value in validated.items()} == {
        key.partition("/")[2]: value for key, value in tested.items()
    }
    content = load_sample("cifar10")
    images = torch.from_numpy(content.test_images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        predicted = network.eval()(images).argmax(1)
    right = float((predicted == torch.from_numpy(content.test_labels)).double().mean())
    assert tested["test/accuracy"] == pytest.approx(right)
    answers = trainer.predict(network, loader())
    assert answers is not None
    assert torch.equal(torch.cat([batch["class"] for batch in answers]), predicted)  # type: ignore[call-overload]
    bare = trainer.predict(network, DataLoader(images, 50))  # type: ignore[arg-type]
    assert bare is not None
    assert torch.equal(torch.cat([batch["class"] for batch in bare]), predicted)  # type: ignore[call-overload]


def test_several_loaders_are_told_apart(trainer: Trainer) -> None:
    found = trainer.test(SmallCNN(), [loader(), loader(50)], verbose=False)
    keys = set().union(*found)
    assert {"test_0/accuracy", "test_1/accuracy"} <= keys
    named = trainer.validate(SmallCNN(), {"mine": loader()}, verbose=False)
    assert "mine/accuracy" in named[0]


def test_our_data_under_a_users_trainer_gives_metrics_too(trainer: Trainer) -> None:
    data = CIFARDataModule(sample=True)
    network = SmallCNN()
    (tested,) = trainer.test(network, datamodule=data, verbose=False)
    assert tested["test/accuracy"] == pytest.approx(network.evaluations["test"].metrics["accuracy"])

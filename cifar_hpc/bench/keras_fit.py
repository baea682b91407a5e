"""Contestant: a report's Keras network in TensorFlow itself, trained by `model.fit` as its listing does.

Started as `python -m cifar_hpc.bench.keras_fit NETWORK BATCH_SIZE IMAGES.npy LABELS.npy`, by any Python that
has TensorFlow; nothing of PyTorch is imported.
"""

import os
import sys
from typing import Any

import numpy as np

from cifar_hpc.bench.turns import Turns


def small_cnn(layers: Any, models: Any) -> Any:
    """Builds `SmallCNN` as its report lists it."""
    return models.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )


def separable_mini_xception(layers: Any, models: Any) -> Any:
    """Builds `SeparableMiniXception` as its notebooks have it."""

    def normalised(x: Any) -> Any:
        return layers.Activation("relu")(layers.BatchNormalization()(x))

    def separable(x: Any, width: int) -> Any:
        return layers.SeparableConv2D(width, 3, padding="same")(x)

    images = layers.Input((32, 32, 3))
    x = normalised(layers.Conv2D(32, 3, padding="same")(images))
    x = normalised(layers.Conv2D(64, 3, padding="same")(x))
    for _ in range(4):
        inner = layers.BatchNormalization()(separable(normalised(separable(x, 64)), 64))
        x = layers.Add()([x, inner])
    x = normalised(separable(x, 128))
    x = normalised(separable(x, 128))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.Dense(64, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return models.Model(images, layers.Dense(10)(x))


NETWORKS = {"SmallCNN": small_cnn, "SeparableMiniXception": separable_mini_xception}
"""The networks of rows that were trained with Keras, by the name of the class that this package trains."""


def compiled(tf: Any, network: str) -> Any:
    """Builds a network and compiles it as both reports compile theirs.

    Args:
        tf: the module tensorflow.
        network: a key of `NETWORKS`.
    """
    model = NETWORKS[network](tf.keras.layers, tf.keras.models)
    model.compile(
        optimizer="adam",
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main(network: str, batch_size: str, images: str, labels: str) -> None:
    """Trains without end; the last turn ends the process."""
    turns = Turns()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    class TakeTurns(tf.keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: Any = None) -> None:
            turns.wait()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turns.count(int(batch_size))

    model = compiled(tf, network)
    pixels = np.load(images).astype(np.float32) / 255
    model.fit(pixels, np.load(labels), batch_size=int(batch_size), epochs=1000, verbose=0, callbacks=[TakeTurns()])


if __name__ == "__main__":
    main(*sys.argv[1:])

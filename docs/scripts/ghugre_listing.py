"""Runs the listing of the report ghugre (section 4, 15 epochs) in TensorFlow itself: docs/ghugre.md.

PYTHONPATH=. PYTHON docs/scripts/ghugre_listing.py FOLDER FILE.json, with a Python that has TensorFlow and the folder of
cifar10 that `python -m cifar_hpc data fetch` names; adds one run to the file. No seed is set, as in the listing:
`tf.keras.utils.set_random_seed` makes Keras 3 show the images in the same order in every epoch.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from cifar_hpc.bench.keras_fit import compiled

EPOCHS = 15


def main(folder: str, file: str) -> None:
    """Adds the curve of one run: accuracies as fractions of 1, training's the mean over the epoch that Keras prints."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    # The time is nobody's figure here, and one thread leaves the other core to a second run.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images = {each: (np.load(f"{folder}/{each}_images.npy") / 255.0).astype(np.float32) for each in ("train", "test")}
    labels = {each: np.load(f"{folder}/{each}_labels.npy") for each in ("train", "test")}
    model = compiled(tf, "SmallCNN")
    test = (images["test"], labels["test"])
    history = model.fit(images["train"], labels["train"], epochs=EPOCHS, validation_data=test, verbose=2).history
    target = Path(file)
    found = json.loads(target.read_text()) if target.exists() else {"tensorflow": tf.__version__, "runs": []}
    curve = {"train_accuracy": history["accuracy"], "test_accuracy": history["val_accuracy"]}
    found["runs"].append({name: [round(value, 4) for value in values] for name, values in curve.items()})
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

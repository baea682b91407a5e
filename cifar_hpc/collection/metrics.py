"""The metrics that reports print and records hold: their names in a row's file, in a record and in words."""

WORDS = {
    "train_accuracy_percent": "training accuracy",
    "test_accuracy_percent": "test accuracy",
    "precision_percent": "precision",
    "recall_percent": "recall",
    "f1_percent": "F1",
    "validation_accuracy_percent": "validation accuracy",
    "top5_accuracy_percent": "top-5 accuracy",
    "error_percent": "test error",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "training_seconds": "training seconds",
    "seconds_per_epoch": "seconds per epoch",
}
"""What each printed value is called."""

METRICS = tuple(name for name in WORDS if name.endswith("_percent"))
"""The reported values that a verdict can be given on, in the order in which tables show them."""

SECONDS = ("training_seconds", "seconds_per_epoch")
"""The reported times."""

CURVE = ("train_accuracy_percent", "test_accuracy_percent", "train_loss", "test_loss")
"""What a printed log and a record's curve both hold of an epoch."""

MAIN = ("test_accuracy_percent", "error_percent", "validation_accuracy_percent", "train_accuracy_percent")
"""What a row's one standard deviation is of: the first that the row prints."""

RECORDED = {name: name.removesuffix("_percent") for name in WORDS if name not in SECONDS} | {
    "validation_accuracy_percent": "holdout_accuracy",
    "error_percent": "test_accuracy",
}
"""From a printed value to the record's key of an epoch."""

TESTED = ("test_accuracy", "test_loss", "precision", "recall", "f1", "top5_accuracy")
"""The record's keys of what is measured on the test set; an evaluation has them without `test_`."""

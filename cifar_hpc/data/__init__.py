"""CIFAR-10 and CIFAR-100: where the bytes come from, how they are kept, and how batches are made."""

"""What Keras does to a layer without being told, for reports that used Keras.

Source: the Keras documentation of `Dense` and `Conv2D`: kernels `glorot_uniform`, biases `zeros`.
"""

from torch import nn


def keras_initialise(module: nn.Module) -> None:
    """Gives every convolution and linear layer of `module` Keras' default initial values.

    Glorot's uniform law uses the kernel's area times its channels as fan in and fan out, in Keras as in
    torch.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

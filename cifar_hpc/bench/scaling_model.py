"""A model of data-parallel training: what exchanging the gradients leaves of the ideal speed-up.

A step takes a fixed time, a time for each image of the device's share of the batch, and the time to add up the
gradients of all devices. For the sum a ring is assumed, which moves the fewest bytes that any method can: P. Patarasuk
and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of Parallel and
Distributed Computing 69 (2009), 117–124. Its latency grows with the number of devices; trees of the same bandwidth
keep that shorter (P. Sanders, J. Speck, J. L. Träff, Parallel Computing 35 (2009), 581–594), so that the model errs on
the slow side for small networks on many devices. All devices are alike and never wait for anything else.
"""

from dataclasses import dataclass

BACKWARD_SHARE = 2 / 3
"""Of a step's work on images: forward one product for each weight, backward two (for weights and for inputs).

Gradients become ready during that part, from the last layer to the first, and can travel meanwhile, as torch's DDP
lets them: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020.
"""

BYTES_PER_GRADIENT = 4
"""float32; under bf16-mixed too, whose weights and gradients stay float32."""


@dataclass(frozen=True)
class Device:
    """One of the devices.

    Attributes:
        images_per_second: rate on the images of a step, the fixed time apart.
        fixed_seconds: fixed time of each step, whatever its batch: launching, optimiser, loop.
    """

    images_per_second: float
    fixed_seconds: float = 0.0


@dataclass(frozen=True)
class Link:
    """What connects each device with its neighbours in the ring.

    Attributes:
        bytes_per_second: bandwidth in one direction.
        latency_seconds: latency of a message.
    """

    bytes_per_second: float
    latency_seconds: float


def ring_seconds(devices: int, gradient_bytes: float, link: Link) -> float:
    """Computes the time to sum all devices' gradients: 2 (n - 1) messages of an n-th of them, one after another."""
    messages = 2 * (devices - 1)
    return messages * (gradient_bytes / devices / link.bytes_per_second + link.latency_seconds)


def step_seconds(
    images: float, devices: int, gradient_bytes: float, device: Device, link: Link, overlap: bool
) -> float:
    """Computes the time of a step.

    Args:
        images: number of images that each device has of the batch.
        devices: number of devices.
        gradient_bytes: size of the network's gradients.
        device: one device; all are alike.
        link: the link between neighbouring devices.
        overlap: whether gradients travel during the whole backward pass, at no cost to it; else after it. What is
            real lies between: the first layer's gradients are ready last, and a core that sends cannot compute.
    """
    compute = images / device.images_per_second
    exchange = ring_seconds(devices, gradient_bytes, link)
    exposed = max(0.0, exchange - BACKWARD_SHARE * compute) if overlap else exchange
    return device.fixed_seconds + compute + exposed


def strong_speed_up(
    batch: int, devices: int, gradient_bytes: float, device: Device, link: Link, overlap: bool
) -> float:
    """Computes the speed-up over one device with the same global batch: the same experiment."""
    alone = step_seconds(batch, 1, gradient_bytes, device, link, overlap)
    return alone / step_seconds(batch / devices, devices, gradient_bytes, device, link, overlap)


def weak_speed_up(batch: int, devices: int, gradient_bytes: float, device: Device, link: Link, overlap: bool) -> float:
    """Computes the speed-up in images per second, that batch on each device: another experiment, of a larger batch."""
    alone = step_seconds(batch, 1, gradient_bytes, device, link, overlap)
    return devices * alone / step_seconds(batch, devices, gradient_bytes, device, link, overlap)


def rate_that_gives(
    speed_up: float, batch: int, devices: int, gradient_bytes: float, link: Link, weak: bool, overlap: bool
) -> float:
    """Finds the images per second of one device at which the model gives a speed-up: slower devices scale better.

    Args:
        speed_up: above 1 and below `devices`.
        batch: images of a batch: of all devices together, or of each device if `weak`.
        devices: number of devices.
        gradient_bytes: size of the network's gradients.
        link: the link between neighbouring devices; not without cost.
        weak: whether the speed-up is that of weak scaling.
        overlap: see `step_seconds`.
    """
    rule = weak_speed_up if weak else strong_speed_up
    slow, fast = 1e-9, 1e15
    for _ in range(200):
        middle = (slow * fast) ** 0.5
        enough = rule(batch, devices, gradient_bytes, Device(middle), link, overlap) >= speed_up
        slow, fast = (middle, fast) if enough else (slow, middle)
    return slow

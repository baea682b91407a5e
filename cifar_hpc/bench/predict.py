"""The command `bench predict`: the model of docs/scaling.md on a row."""

from typing import Any

from cifar_hpc.bench.scaling_model import BYTES_PER_GRADIENT, Device, Link, strong_speed_up, weak_speed_up
from cifar_hpc.collection.folder import chosen
from cifar_hpc.errors import UserError
from cifar_hpc.output import write_json_output


def command(
    row: str,
    devices: list[int],
    images_per_second: float,
    fixed_ms: float,
    bandwidth: float,
    latency: float,
    json_file: str | None,
) -> int:
    """Prints the speed-up of a row on numbers of devices.

    Args:
        row: id of the row.
        devices: numbers of devices.
        images_per_second: rate of one device.
        fixed_ms: fixed time of each step, milliseconds.
        bandwidth: bandwidth of each device's link, GB/s.
        latency: latency of a message, microseconds.
        json_file: where JSON goes; `-` for standard output.

    Raises:
        UserError: if a number is out of range or there is no such row.
    """
    if min(devices) < 1:
        raise UserError(f"--devices must be at least 1, not {min(devices)}")
    for name, value in (("images-per-second", images_per_second), ("bandwidth", bandwidth)):
        if not value > 0:
            raise UserError(f"--{name} must be more than 0, not {value:g}")
    for name, value in (("fixed-ms", fixed_ms), ("latency", latency)):
        if not value >= 0:
            raise UserError(f"--{name} must be at least 0, not {value:g}")
    device, link = Device(images_per_second, fixed_ms / 1e3), Link(bandwidth * 1e9, latency / 1e6)
    content = predict(row, devices, device, link)
    if json_file is not None:
        write_json_output(content, json_file)
    if json_file != "-":
        print(as_text(content))
    return 0


def predict(row: str, devices: list[int], device: Device, link: Link) -> dict[str, Any]:
    """Predicts strong and weak scaling of a row, each without and with exchange during the backward pass.

    Strong scaling is null where the devices cannot share the batch evenly.

    Args:
        row: id of the row.
        devices: numbers of devices.
        device: one device; all are alike.
        link: the link between neighbouring devices.

    Raises:
        UserError: if there is no such row, or its file does not say what is needed.
    """
    found = chosen().row(row)
    parameters, batch = found.reproduction.trainable_parameters, found.config.get("data", {}).get("batch_size")
    if parameters is None or batch is None:
        missing = "data.batch_size" if batch is None else "reproduction.trainable_parameters"
        raise UserError(f"{found.path} must state {missing}, from which the prediction follows")
    model = (BYTES_PER_GRADIENT * parameters, device, link)
    return {
        "row": row,
        "trainable_parameters": parameters,
        "gradient_megabytes": BYTES_PER_GRADIENT * parameters / 1e6,
        "batch_size": batch,
        "images_per_second": device.images_per_second,
        "fixed_seconds": device.fixed_seconds,
        "bytes_per_second": link.bytes_per_second,
        "latency_seconds": link.latency_seconds,
        "devices": [
            {
                "devices": n,
                "strong": None
                if batch % n
                else [strong_speed_up(batch, n, *model, overlap) for overlap in (False, True)],
                "weak": [weak_speed_up(batch, n, *model, overlap) for overlap in (False, True)],
            }
            for n in devices
        ],
    }


def as_text(content: dict[str, Any]) -> str:
    """Formats the prediction for a terminal."""
    lines = [
        f"{content['row']}: {content['gradient_megabytes']:.1f} MB of gradients, batch {content['batch_size']}",
        f"a device: {content['images_per_second']:,.0f} images/s, and {1e3 * content['fixed_seconds']:g} ms a step; "
        f"a ring of {content['bytes_per_second'] / 1e9:g} GB/s and {1e6 * content['latency_seconds']:g} µs",
        "",
        "           batch shared by all       batch on each device",
        "devices   exchange    exchange      exchange    exchange",
        "             after      during         after      during  the backward pass",
    ]
    for each in content["devices"]:
        strong = ["not even"] * 2 if each["strong"] is None else [f"{value:.2f}" for value in each["strong"]]
        weak = [f"{value:.2f}" for value in each["weak"]]
        lines.append(f"{each['devices']:7} {strong[0]:>10} {strong[1]:>11} {weak[0]:>13} {weak[1]:>11}")
    return "\n".join(lines)

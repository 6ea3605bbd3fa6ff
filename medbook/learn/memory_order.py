"""In which order the numbers of a network and its batches lie in memory: decided here alone."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

# Input channels that oneDNN computes at a time: 8 with AVX2, 16 with AVX-512. The larger one
# counts everywhere, so that the order, and with it the last bits, are those of any processor.
BLOCK = 16

Network = TypeVar("Network", bound=nn.Module)


def arrange(network: Network, images: Tensor) -> Network:
    """Move a network to the device of images, in the order that is fast there and safe.

    Two-dimensional convolutions are fastest with the channels last. But in that order, on a CPU,
    the weight gradient of a strided 1 x 1 convolution of few channels writes past its workspace:
    the process ends, or other numbers are spoilt (uxlfoundation/oneDNN, issue 6035). A network with
    such a layer keeps the contiguous order there, and the layer gets contiguous batches whatever
    the order of the images and of what other layers give.

    Args:
        network: changed in place.
        images: (N, C, H, W), or of another number of dimensions; only its device and that are used.

    Returns:
        the network.

    >>> network = nn.Conv2d(4, 8, 1, stride=2)
    >>> arrange(network, torch.zeros(1, 4, 8, 8)).weight.stride()
    (4, 1, 1, 1)
    >>> arrange(nn.Conv2d(4, 8, 3), torch.zeros(1, 4, 8, 8)).weight.stride()
    (36, 1, 12, 4)
    """
    network.to(images.device)
    layers = [x for x in network.modules() if endangered(x)] if images.device.type == "cpu" else []
    if layers:
        for weight in network.parameters():
            weight.data = contiguous(weight.data)
        for layer in layers:
            if _contiguous_batch not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_contiguous_batch)
    elif images.ndim == 4:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def endangered(layer: nn.Module) -> bool:
    """True for a strided 1 x 1 convolution with fewer input channels in a group than a block.

    >>> endangered(nn.Conv2d(4, 8, 1, stride=2)), endangered(nn.Conv2d(16, 8, 1, stride=2))
    (True, False)
    """
    if not isinstance(layer, nn.modules.conv._ConvNd):
        return False
    # the weight gradient of a transposed convolution is that of the plain one it turns round
    channels = layer.out_channels if layer.transposed else layer.in_channels
    pointwise, strided = set(layer.kernel_size) == {1}, max(layer.stride) > 1
    return pointwise and strided and channels // layer.groups < BLOCK


def contiguous(x: Tensor) -> Tensor:
    """The tensor with its last axis densest, and strides that say so.

    `Tensor.contiguous` leaves strides of axes of length 1 as they are, and torch takes a batch with
    one channel, or a 1 x 1 weight, for channels-last by those strides alone.

    >>> contiguous(torch.zeros(2, 1, 3, 4).to(memory_format=torch.channels_last)).stride()
    (12, 12, 4, 1)
    """
    return x.reshape(-1).view(x.shape)


def _contiguous_batch(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return contiguous(inputs[0]), *inputs[1:]

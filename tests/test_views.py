"""All orientations of images, against NumPy."""

import numpy as np
import torch

from medbook.learn.views import turned


def test_orientations_are_numpys():
    images = torch.randint(0, 256, (3, 1, 5, 5), generator=torch.Generator().manual_seed(0))
    x, y = turned(images.byte(), torch.tensor([2, 0, 5]))
    assert x.shape == (24, 1, 5, 5) and x.dtype == torch.uint8
    for image, label in zip(x.numpy(), y.tolist(), strict=True):
        kind, orientation = divmod(label, 8)
        origin = images[[2, 0, 5].index(kind), 0].numpy()
        seen = np.rot90(origin, orientation % 4)
        assert np.array_equal(image[0], np.fliplr(seen) if orientation >= 4 else seen)
    assert len({tuple(image.flatten().tolist()) for image in x}) == 24

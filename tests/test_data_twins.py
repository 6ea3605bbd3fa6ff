"""Twins: shaped like the real set, the same each time, learnable but not trivially."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from medbook import data
from medbook.data.twins.labelled import COUNTS

LABELLED = [name for name, entry in data.ENTRIES.items() if entry.classes]
DIGESTS = {  # of the twins at their smallest size
    "bloodmnist": "06ff1bd45b5f",
    "breastmnist": "6b44056033b4",
    "chest_ct_lidc": "071b78c9bd7a",
    "chest_xray_lungs": "c5248ccec79b",
    "dermamnist": "266341e16e9f",
    "fundus": "0fdeb34ea008",
    "mednist": "8270827cefc3",
    "mri_brain_8coil": "79187820f047",
    "mri_brain_slices": "3bbd7a99f45e",
    "mri_brain_volume": "0b8be3a1d335",
    "octmnist": "28ac4eae0d44",
    "organamnist": "30a9c8e2934d",
    "organcmnist": "c0b9c32fe911",
    "organsmnist": "114de580f319",
    "pathmnist": "9a16e3f8da89",
    "phase_contrast": "7d6a1ce3ccb2",
    "pneumoniamnist": "6dab4a976b98",
    "retinamnist": "3fbb8db98d04",
    "tissuemnist": "362e8615fb60",
}


def smallest(name):
    return min(data.info(name).files)


@pytest.mark.parametrize("name", LABELLED)
def test_twin_has_the_form_and_the_shares_of_the_real_set(name):
    entry, size = data.info(name), smallest(name)
    for split, (images, labels, *_) in entry.twin(size).items():
        n = COUNTS[split]
        assert images.shape == (n, entry.channels, size, size) and images.dtype == np.uint8
        assert labels.shape == (n,) and labels.dtype == np.int64
        counts = np.bincount(labels, minlength=len(entry.classes))
        assert len(counts) == len(entry.classes) and counts.min() >= 1
        expected = np.array(entry.shares) / sum(entry.shares) * n
        assert np.abs(counts - expected).max() <= 3
        assert images.std() > 15 and (images == 255).mean() < 0.2
        assert len(np.unique(images.reshape(n, -1), axis=0)) == n


@pytest.mark.parametrize("name", ["pneumoniamnist", "mednist", "octmnist", "pathmnist"])
def test_twin_is_the_same_on_every_call_and_its_splits_differ(name):
    first, again = (data.load(name, smallest(name), source="twin") for _ in range(2))
    assert first.sha256 == again.sha256 and len(first.sha256) == 64
    assert first.train.images.equal(again.train.images)
    assert not first.train.images[:120].equal(first.val.images)


def test_twins_of_different_sets_differ():
    hashes = {data.load(name, source="twin").sha256 for name in data.ENTRIES}
    assert len(hashes) == len(data.ENTRIES)


@pytest.mark.parametrize("name", data.ENTRIES)
def test_twins_keep_their_bytes(name):
    """Stored numbers rest on them; a new set gets a line of its own and changes no other."""
    assert data.load(name, source="twin").sha256[:12] == DIGESTS[name]


@pytest.mark.parametrize(("name", "size"), [("pneumoniamnist", 64), ("mednist", 64)])
def test_twin_at_a_larger_size_shows_the_same_kind_of_image(name, size):
    large = data.load(name, size, source="twin").train
    small = data.load(name, smallest(name), source="twin").train
    assert large.labels.equal(small.labels)
    mean = small.images.float().mean().item()
    assert large.images.float().mean().item() == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize(("size", "repeat"), [(128, 2), (224, 4)])
def test_large_images_repeat_pixels(size, repeat):
    images = data.load("breastmnist", size, source="twin").val.images
    assert images.shape == (120, 1, size, size)
    fine = images[..., ::repeat, ::repeat]
    assert images.equal(fine.repeat_interleave(repeat, -1).repeat_interleave(repeat, -2))
    assert len(fine[0].unique()) > 50


def linear_accuracy(train, test, labels):
    x = train.images.reshape(len(train), -1).numpy() / 255 - 0.5
    model = LogisticRegression(C=0.01, max_iter=100, class_weight="balanced").fit(x, labels)
    guess = model.predict(test.images.reshape(len(test), -1).numpy() / 255 - 0.5)
    return balanced_accuracy_score(test.labels, guess)


def test_chest_twin_is_learnable_but_not_by_pixels_alone():
    ds = data.load("pneumoniamnist", source="twin")
    assert 0.6 < linear_accuracy(ds.train, ds.test, ds.train.labels) < 0.9
    shuffled = np.random.default_rng(0).permutation(ds.train.labels)
    assert 0.35 < linear_accuracy(ds.train, ds.test, shuffled) < 0.65


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("name", ["mednist", "breastmnist", "tissuemnist", "pathmnist"])
def test_other_twins_are_above_chance_and_below_certain(name):
    ds = data.load(name, smallest(name), source="twin")
    accuracy = linear_accuracy(ds.train, ds.test, ds.train.labels)
    assert 1.5 / len(ds.classes) < accuracy < 0.97


def test_opacities_brighten_the_lungs():
    """The class shows where it should: between ribs and heart, not at the border."""
    images, labels, *_ = data.info("pneumoniamnist").twin(28)["train"]
    change = images[labels == 1].mean(0)[0] - images[labels == 0].mean(0)[0]
    lungs = np.concatenate([change[8:18, 5:9].ravel(), change[8:18, 19:23].ravel()])
    border = np.concatenate([change[:, 0], change[:, -1], change[-1]])
    assert lungs.mean() > 8 and abs(border.mean()) < lungs.mean() / 2

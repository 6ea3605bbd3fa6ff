"""Every network that the chapters train, with its loss, at the sizes of a profile."""

import ast
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medbook import chapter
from medbook.learn import text
from medbook.physics.sparse import SparseOperator
from medbook.record import profiles

SIDE = 28  # of MedMNIST
VOCABULARY, CLASSES = 90, 6
BOOKS = {  # for each a function of the same name below
    name: chapter.load(name)
    for name in (
        "unlearnable_examples", "structured_sparsity", "diffusion", "sparse_view_ct",
        "mri_reconstruction", "image_text_pretraining",
    )
}  # fmt: skip


class Trained(NamedTuple):
    """What a training needs: `loss(network(images), labels)`."""

    network: nn.Module
    images: Tensor
    labels: Tensor
    loss: Callable[[Any, Tensor], Tensor]


Build = Callable[[int], Trained]  # from a batch size, on the CPU


def constants(book: ModuleType, profile: str, *wanted: str) -> list[Any]:
    """Values that a chapter's run gives to constants at a profile, without running the chapter."""
    size = partial(profiles.choose, profile)
    run = SimpleNamespace(scale=size, steps=size, seeds=lambda n: list(range(n)))
    scope = vars(book) | {"run": run, "replace": replace}
    tree = ast.parse(chapter.find(book.__name__.removeprefix("medbook_chapter_")).read_text())
    missing = set(wanted)
    for node in tree.body:  # the first time that each is given
        if isinstance(node, ast.Assign) and missing & set(_names(node)):
            exec(compile(ast.Module([node], []), "constants", "exec"), scope)
            missing -= set(_names(node))
    return [scope[name] for name in wanted]


def _names(node: ast.Assign) -> list[str]:
    stored = (n for target in node.targets for n in ast.walk(target))
    return [n.id for n in stored if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def networks(profile: str) -> dict[str, Build]:
    """All networks by name: `<chapter>: <network>`."""
    return {
        f"{name}: {network}": build
        for name, book in BOOKS.items()
        for network, build in globals()[name](book, profile).items()
    }


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def classified(network: nn.Module, x: Tensor, classes: int = CLASSES) -> Trained:
    return Trained(network, x, torch.arange(len(x)) % classes, F.cross_entropy)


def unlearnable_examples(book: ModuleType, profile: str) -> dict[str, Build]:
    (effort,) = constants(book, profile, "EFFORT")

    def build(kind: str, n: int) -> Trained:
        x = images(n, 3, SIDE, SIDE)
        network = book.make_network(getattr(book, kind), x, seed=0, width=effort.width)
        return classified(network, x, 2)

    return {kind: partial(build, kind) for kind in ("resnet", "cnn")}


def structured_sparsity(book: ModuleType, profile: str) -> dict[str, Build]:
    steps, builders = constants(book, profile, "STEPS", "BUILD")

    def build(kind: str, arm: str, n: int) -> Trained:
        x = images(n, 1, 32, 32)
        recipe = replace(book.recipes(kind)[arm], n=1, m=16)
        network = book.make_network(builders[kind], x, 8 * CLASSES, 0)
        return classified(book.sparsify(network, recipe, steps), x, 8 * CLASSES)

    arms = [(kind, arm) for kind in ("ResNet", "ViT") for arm in ("dense", "SR-STE")]
    return {f"{kind}, {arm}": partial(build, kind, arm) for kind, arm in arms}


def diffusion(book: ModuleType, profile: str) -> dict[str, Build]:
    (sizes,) = constants(book, profile, "SIZES")

    def denoiser(framework: str, n: int) -> Trained:
        network = book.Objective(book.ScoreNet(sizes.widths), book.frameworks()[framework])
        nn.init.normal_(network.net.unet.head.weight, std=0.1)  # else no gradient goes past it
        return Trained(network, images(n, 1, 32, 32), torch.zeros(n), lambda x, _: x.mean())

    found = {f: partial(denoiser, f) for f in ("DDPM", "NCSN", "VP", "VE", "NCSN, unweighted")}
    judge = lambda n: classified(book.make_judge(8 * CLASSES), images(n, 1, 32, 32), 8 * CLASSES)  # noqa: E731
    return found | {"judge": judge}


def sparse_view_ct(book: ModuleType, profile: str) -> dict[str, Build]:
    size, views, sizes = constants(book, profile, "SIZE", "VIEWS", "SIZES")
    bins, all_arms = book.scan(size, views).bins, book.all_arms()

    def build(arm: str, n: int) -> Trained:
        given, loss = all_arms[arm].given, all_arms[arm].loss
        network = book.make_network(all_arms[arm].build, sizes, 0)
        x = images(n, 2 if given == "teacher" else 1, size, size)
        if given == "y":
            x = images(n, 1, views, bins)
        if getattr(network, "contrast", 0):
            network.length = n  # the second step has a queue
        return Trained(network, x, images(n, 1, size, size), loss)

    arms = (
        "U-Net on FBP", "primal-dual", "PD-UNet", "PD-UNet, no dual step",
        "plain convolutions", "FFC", "GloReDi",
    )  # fmt: skip
    return {arm: partial(build, arm) for arm in arms}


def mri_reconstruction(book: ModuleType, profile: str) -> dict[str, Build]:
    size, small, coils, width, nets, widths, how = constants(
        book, profile, "SIZE", "SMALL", "FEW", "WIDTH", "NETS", "widths", "how"
    )

    all_arms = book.all_arms()

    def operator(arm: str, n: int) -> Trained:
        network = book.made(partial(all_arms[arm].build, width, nets), 0)
        truth = images(n, 1, small, small)
        return Trained(network, images(n, 2 * coils + 1, small, small), truth, book.ssim_loss)

    def radial(arm: str, n: int) -> Trained:
        x = images(n, 1, size, size)
        pd_unet = partial(book.radial_pd_unet, widths, size)
        build = pd_unet if arm == "PD-UNet" else partial(book.radial_unet, widths)
        network = book.made(build, 0)
        spokes = book.radial_of(size).spokes
        bins = book.projector_of(size, images(1, 1, spokes, 1)).geometry.bins
        given = images(n, 1, spokes, bins) if arm == "PD-UNet" else x
        return Trained(network, given, x, F.l1_loss)

    class Scan(nn.Module):
        """The zero-shot network on one scan, whose samples are those of an image."""

        def __init__(self) -> None:
            super().__init__()
            self.net = book.Unrolled(how.width, how.depth, how.blocks)

        def forward(self, x: Tensor) -> Tensor:
            every_third = torch.arange(size, device=x.device) % 3 == 0
            mask = every_third.expand(1, 1, size, size)
            maps = torch.ones(1, 8, size, size, dtype=torch.complex64, device=x.device) / 8**0.5
            y = book.Cartesian(mask, maps).A(torch.complex(x, x))
            return self.net(y, mask, maps)

    def unrolled(n: int) -> Trained:
        del n  # one scan at a time
        x = images(1, 1, size, size)
        return Trained(Scan(), x, torch.complex(x, x), book.sample_loss)

    arms = ("neural operator", "VarNet", "VarNet and k-space", "operator, image only")
    return (
        {arm: partial(operator, arm) for arm in arms}
        | {f"radial: {arm}": partial(radial, arm) for arm in ("PD-UNet", "U-Net on gridded")}
        | {"ZS-SSL": unrolled}
    )


def image_text_pretraining(book: ModuleType, profile: str) -> dict[str, Build]:
    def sentences(n: int, length: int) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randint(5, VOCABULARY, (n, 3, length), generator=generator).short()

    def pair(recipe: Any, n: int) -> Trained:
        network = book.new_pair(VOCABULARY, None, 0)
        if recipe.head is not None:
            network.extra = recipe.head(network)
        loss = partial(recipe.loss, network, recipe)
        views = images(2 * n if recipe.paired else n, 1, 64, 64)
        return Trained(network, views, sentences(n, text.LENGTH), loss)

    def clip(n: int) -> Trained:
        network = book.Clip(text.TextTower(VOCABULARY, book.WIDTH))
        return Trained(network, images(n, 3, 32, 32), sentences(n, 2 * text.LENGTH), network.loss)

    def fine_tuned(n: int) -> Trained:
        network = nn.Sequential(book.image_encoder(), nn.Linear(book.WIDTH, 6))
        x, loss = images(n, 1, 64, 64), F.binary_cross_entropy_with_logits
        return Trained(network, x, images(n, 6).round(), loss)

    recipes = {
        "ConVIRT": book.Recipe(book.contrast),
        "SimCLR": book.Recipe(book.contrast_of_views, paired=True),
        "matching": book.Recipe(book.matching, book.matcher),
        "captions": book.Recipe(book.captioning, book.writer),
    }  # fmt: skip
    found: dict[str, Build] = {arm: partial(pair, recipe) for arm, recipe in recipes.items()}
    return found | {"UniMed-CLIP": clip, "fine-tuned": fine_tuned}


# ---------------------------------------------------------------- on a device without numbers

META = torch.device("meta")


def there(trained: Trained) -> Trained:
    """Weights and data on `meta`; counters stay, as there is no number to read."""
    for module in trained.network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, x in tensors.items():
                if x is not None and x.is_floating_point():
                    moved = x.detach().to(META)
                    tensors[name] = nn.Parameter(moved) if x.requires_grad else moved
    return trained._replace(images=trained.images.to(META), labels=trained.labels.to(META))


@contextmanager
def shapes_alone() -> Iterator[None]:
    """What looks at numbers, or is unknown to `meta`, replaced by something of the same shape."""

    def product(
        self: SparseOperator, x: Tensor, given: tuple[int, ...], wanted: tuple[int, ...], **_: bool
    ) -> Tensor:
        total = x.float().reshape(-1, math.prod(given)).sum(1, keepdim=True)
        rows = total + torch.zeros(math.prod(wanted), device=x.device)
        return rows.reshape(*x.shape[: x.ndim - len(given)], *wanted)

    ct, pairs = BOOKS["sparse_view_ct"], BOOKS["image_text_pretraining"]
    with (
        patch.object(SparseOperator, "_apply", product),
        patch.object(torch, "autocast", lambda *_, **__: nullcontext()),
        patch.object(nn.modules.transformer, "_detect_is_causal_mask", lambda *_: False),
        patch.object(ct, "band", lambda z: F.normalize(z.flatten(1), dim=1)),
        patch.object(pairs, "one_of", lambda ways: ways[:, 0].long()),
    ):
        yield

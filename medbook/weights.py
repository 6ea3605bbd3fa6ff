"""Weights that take long to train: from the user's cache, or trained anew."""

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medbook import chapter
from medbook.data.sources import cache_folder
from medbook.errors import MedbookError
from medbook.paths import PACKAGE

NAME = re.compile(r"[a-z0-9_]+/[A-Za-z0-9_.-]+")
Weights = dict[str, Tensor]


def pretrained(
    name: str, train: Callable[[], nn.Module | Mapping[str, Tensor]], folder: Path | None = None
) -> Weights:
    """Weights by name: those in the cache, else those that `train()` gives, which are then kept.

    The file's name holds a digest of what the chapter named first defines and of the package, so
    that changed code is trained anew and never mistaken for what it was before. Everything else
    that decides about the weights (profile, seed, sizes) belongs into the name. One pretrained
    network is one draw: a claim built on it uses three or more seeds, or says "given this encoder".

    Args:
        name: "<chapter>/<what>", e.g. "image_text_pretraining/convirt-laptop-0".
        train: returns the trained network, or its weights.
        folder: where files lie; the user's cache if left out.

    Returns:
        The tensors of the network's `state_dict`, on the CPU.

    Raises:
        MedbookError: a name of another form, or no such chapter.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> sorted(pretrained("unlearnable_examples/doc", lambda: nn.Linear(2, 1), folder))
    ['bias', 'weight']
    """
    if not NAME.fullmatch(name):
        raise MedbookError(
            f"weights are named <chapter>/<what>, letters, digits, dot, dash, not {name!r}"
        )
    file = (folder or cache_folder() / "pretrained") / f"{name}-{_digest(name.split('/')[0])}"
    file = file.with_name(file.name + ".safetensors")
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):  # two notebooks may ask at once
        try:
            return load_file(file)
        except FileNotFoundError:
            pass
        except SafetensorError:  # cut short or damaged: as if it were not there
            file.unlink()
        given = train()
        state = given.state_dict() if isinstance(given, nn.Module) else given
        weights = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
        part = file.with_suffix(".part")
        save_file(weights, part)
        part.replace(file)
        return weights


def _digest(name: str) -> str:
    """Ten hex digits over the definitions of a chapter and the sources of the package."""
    text = chapter.defining_source(chapter.find(name).read_text(encoding="utf-8"))
    return hashlib.sha256(text.encode() + _package()).hexdigest()[:10]


@lru_cache(maxsize=1)
def _package() -> bytes:
    files = (f for f in sorted(PACKAGE.rglob("*.py")) if "_book" not in f.parts)
    return b"".join(file.read_bytes() for file in files)

"""What all test processes share is made once, and made again if that failed."""

from pathlib import Path

import pytest
from conftest import Once


def test_a_shared_folder_is_made_once_and_never_left_half_done(
    once: Once, request: pytest.FixtureRequest
) -> None:
    name, tries = request.node.name, []

    def make(folder: Path) -> None:
        tries.append(folder)
        assert not list(folder.iterdir())
        (folder / "file").touch()
        if len(tries) == 1:
            raise OSError("a disk that is full")

    with pytest.raises(OSError, match="full"):
        once(name, make)
    for _ in range(2):
        assert [path.name for path in once(name, make).iterdir()] == ["file"]
    assert len(tries) == 2

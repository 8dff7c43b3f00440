"""One campaign of three iterations for all tests that only read it."""

import pytest

from tests.lineage.campaign import Run, start


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = start(tmp_path_factory.mktemp("lineage"))
    for number in (1, 2, 3):
        run.iterate(number)
    return run

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.server.decide import accounting

TIMES = st.floats(0, 4e9)


def test_a_life_counts_in_each_hour_that_it_touched():
    life = accounting.Life(began=3000, ended=7500, cores=2.0, memory=512, gpus=1, cpu=45.0)
    found = dict(accounting.parts(life))
    assert {hour: held.cores for hour, held in found.items()} == {0: 1200.0, 1: 7200.0, 2: 600.0}
    assert found[1].memory == 3600 * 512 and found[1].gpus == 3600
    assert sum(held.cpu for held in found.values()) == pytest.approx(45.0)
    assert [held.containers for held in found.values()] == [1, 0, 0], "it began once"


@given(TIMES, st.floats(0, 40 * 86400))
def test_hours_add_up_to_the_whole_life(began, seconds):
    life = accounting.Life(began, began + seconds, cores=1.0, memory=1, gpus=0, cpu=3.0)
    found = list(accounting.parts(life))
    assert sum(held.cores for _, held in found) == pytest.approx(life.ended - life.began, abs=1e-5)
    assert sum(held.cpu for _, held in found) == pytest.approx(3.0)
    assert sum(held.containers for _, held in found) == 1


def test_a_clock_that_went_back_costs_nobody_anything():
    (one,) = accounting.parts(accounting.Life(began=100.0, ended=50.0, cores=4.0, memory=1, gpus=0, cpu=0.0))
    assert one[0] == 0 and one[1].cores == 0.0 and one[1].containers == 1


def test_ranges_are_whole_hours():
    assert accounting.clipped(3599.0, 7200.0) == (0, 2)
    assert accounting.clipped(3600.0, 7201.0) == (1, 3)

"""Equal facts, equal decisions: what the server decides depends on its arguments alone, and stays within its bounds."""

from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import windlass.server.decide
from windlass.server.decide import attempts, place, scale

counts = st.integers(0, 5000)
seconds = st.none() | st.floats(0, 1000)
samples = st.builds(
    scale.Sample,
    queued=counts,
    busy=counts,
    seconds=seconds,
    elapsed=st.floats(0, 1000),
    active=st.booleans(),
    minimum=st.integers(0, 50),
    maximum=st.integers(0, 200),
    buffer=st.integers(0, 20),
    unit=st.integers(1, 100),
)
policies = st.fixed_dictionaries(
    {
        "max_retries": st.integers(0, 20),
        "backoff_coefficient": st.floats(1, 10),
        "initial_delay": st.floats(0, 60),
        "max_delay": st.floats(1, 60),
    }
)


@given(samples)
def test_the_number_of_containers_is_a_function_of_the_sample(sample):
    wanted = scale.needed(sample)
    assert wanted == scale.needed(scale.Sample(*sample))
    assert wanted >= sample.minimum
    if sample.maximum >= sample.minimum and sample.maximum:
        assert wanted <= sample.maximum
    if sample.queued + sample.busy:
        assert wanted >= 1, "work is never left alone"


@given(samples)
def test_more_work_never_means_fewer_containers(sample):
    assert scale.needed(sample._replace(queued=sample.queued + 1)) >= scale.needed(sample)


@given(samples)
def test_without_work_for_a_while_only_the_minimum_stays(sample):
    quiet = sample._replace(queued=0, busy=0, active=False)
    assert scale.needed(quiet) == sample.minimum


@given(st.lists(st.tuples(st.text(max_size=5), st.floats(0, 100)), max_size=20), counts, st.floats(2, 60), st.randoms())
def test_what_is_stopped_does_not_depend_on_the_order_of_the_facts(pairs, wanted, window, rng):
    idle = list({name: scale.Idle(name, since) for name, since in pairs}.values())
    chosen = scale.surplus(idle, existing=len(idle), wanted=wanted, window=window, now=100.0)
    assert chosen == scale.surplus(list(idle), existing=len(idle), wanted=wanted, window=window, now=100.0)
    assert len(idle) - len(chosen) >= min(wanted, len(idle))
    assert all(100.0 - one.since >= window for one in idle if one.container_id in chosen)
    if len({one.since for one in idle}) == len(idle):
        rng.shuffle(idle)
        assert chosen == scale.surplus(idle, existing=len(idle), wanted=wanted, window=window, now=100.0)


@given(policies, st.integers(0, 100))
def test_a_retry_waits_within_its_bounds_and_ends(policy, retries):
    delay = attempts.retry_delay(policy, retries)
    assert delay == attempts.retry_delay(dict(policy), retries)
    if retries >= policy["max_retries"]:
        assert delay is None
    else:
        assert delay is not None and 1.0 <= delay <= max(policy["max_delay"], 1.0)
        following = attempts.retry_delay(policy, retries + 1)
        assert following is None or following >= delay


wishes = st.lists(
    st.builds(
        place.Wish,
        function_id=st.text(max_size=3),
        memory=st.integers(1, 4000),
        missing=st.integers(1, 50),
        containers=st.just(1) | st.integers(2, 20),
    ),
    max_size=6,
    unique_by=lambda wish: wish.function_id,
)


@given(counts, st.integers(0, 10_000), st.integers(0, 250), st.integers(0, 8), wishes)
def test_a_node_is_never_promised_beyond_what_it_has(memory, promised, containers, starting, wanted):
    node = place.Node("n", memory, promised, containers, starting, 200, 6)
    placement = place.assign([node], list(wanted))
    assert placement == place.assign([place.Node(*node)], list(wanted))
    granted = [grant.function_id for grant in placement.grants]
    asked = {wish.function_id: wish.memory for wish in wanted}
    if memory and granted:
        assert promised + sum(asked[name] for name in granted) <= memory
    sizes = {wish.function_id: wish.containers for wish in wanted}
    started = [sizes[name] for name in granted]
    assert sum(started) <= max(0, 200 - containers)
    assert not granted or sum(started[:-1]) < 12 - starting, "a cluster may go beyond what starts at once, but alone"
    for wish in wanted:
        assert granted.count(wish.function_id) <= wish.missing


def test_thinking_imports_neither_clock_nor_loop_nor_database_nor_chance():
    forbidden = {"time", "asyncio", "sqlite3", "random", "logging", "datetime", "os", "threading", "uuid", "secrets"}
    for file in Path(windlass.server.decide.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & forbidden, file

"""Each policy chooses as its name says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from alto_streams.errors import ConfigError
from alto_streams.scheduler.loads import Worker
from alto_streams.scheduler.placing import in_turn
from alto_streams.scheduler.policies import POLICIES, SLACK, Candidates, Choice, Cost, Owner, policy
from alto_streams.wire.plans import PREFILL

CALL = Cost(output=40.0, prompt=800.0, prefix=640.0)


def owner(
    name: str, work: int = 0, calls: int = 0, weight: float = 1.0, speed: float = 1.0, warm: bool = True
) -> Owner:
    worker = Worker(name, speed, True, 0, work, calls, warm=["p.a"] if warm else [])
    return Owner(worker, iter(range(100)), weight)


def ask(
    owners: Sequence[Owner], live: bool = True, planned: bool = True, seed: int = 1, busy: float | None = None
) -> Candidates:
    loads = [each.worker.theirs / each.worker.speed for each in owners]
    mean = sum(loads) / len(loads) if busy is None else busy
    shares = [each for each in owners if each.weight > 0] or owners
    turn, rng = in_turn(24), random.Random(seed)
    return Candidates("p.a", "r", "0", 5, 24, turn, owners, shares, live, planned, lambda: mean, CALL, rng)


def chosen(choice: Choice) -> str:
    assert choice.owner is not None
    return choice.owner.worker.name


def often(name: str, owners: Sequence[Owner], **how: bool) -> Counter[str]:
    return Counter(chosen(policy(name).choose(ask(owners, seed=seed, **how))) for seed in range(2_000))


def test_an_unknown_policy_is_told_all_names() -> None:
    with pytest.raises(ConfigError) as error:
        policy("fastest")
    assert "'fastest'" in str(error.value)
    assert all(name in str(error.value) for name in POLICIES)
    assert len(POLICIES) == 6
    assert all(policy(name).name == name for name in POLICIES)


def test_round_robin_takes_every_partition_in_turn() -> None:
    question = ask([owner("a")])
    assert sorted(policy("round_robin").choose(question).partition for _ in range(24)) == list(range(24))


def test_hash_knows_nothing_but_the_call() -> None:
    one, two = ask([owner("a")]), ask([owner("b"), owner("c")], seed=7)
    assert policy("hash").choose(one).partition == policy("hash").choose(two).partition
    partitions = {policy("hash").choose(one._replace(path=f"0/{n}")).partition for n in range(500)}
    assert partitions == set(range(24))


def test_least_requests_counts_calls_and_not_their_work() -> None:
    owners = [owner("a", work=10, calls=4), owner("b", work=9_000, calls=3), owner("c", work=0, calls=5)]
    assert set(often("least_requests", owners)) == {"b"}
    idle = often("least_requests", [owner("a"), owner("b")])
    assert min(idle.values()) > 900


def test_power_of_two_takes_the_better_of_any_two() -> None:
    counts = often("power_of_two", [owner(name, calls=calls) for calls, name in enumerate("abcd")])
    assert counts["a"] / 2_000 == pytest.approx(1 / 2, abs=0.04)  # it is in half of the pairs, and best in each
    assert counts["b"] / 2_000 == pytest.approx(1 / 3, abs=0.04)
    assert counts["d"] == 0


def test_prefix_stays_where_it_is_warm_whatever_waits_there() -> None:
    owners = [owner("a", 9_000, 60), owner("b", 9_900, 70), owner("c", warm=False)]
    assert set(often("prefix", owners)) == {"a"}
    cold = [owner("a", 0, 60, warm=False), owner("b", 0, 2, warm=False)]
    choice = policy("prefix").choose(ask(cold))
    assert (chosen(choice), choice.reason) == ("b", "cold")


def test_prompt_aware_compares_tokens_over_speed() -> None:
    owners = [owner("slow", work=300, calls=1, speed=0.5), owner("fast", work=500, calls=9)]
    choice = policy("prompt_aware").choose(ask(owners))
    assert (chosen(choice), choice.reason) == ("fast", "warm")
    assert {each.worker.name for each in choice.looked} == {"slow", "fast"}


def test_a_cold_prefix_costs_its_tokens_and_holds_up_those_beside_it() -> None:
    spared = round(PREFILL * CALL.prefix)
    near = [owner("warm", work=spared - 10, calls=10), owner("cold", work=0, warm=False)]
    assert set(often("prompt_aware", near)) == {"warm"}
    far = [owner("warm", work=spared + 10, calls=10), owner("cold", work=0, warm=False)]
    assert set(often("prompt_aware", far)) == {"cold"}
    beside = [owner("warm", work=spared + 10, calls=10), owner("cold", work=0, calls=10, warm=False)]
    assert set(often("prompt_aware", beside)) == {"warm"}


def test_of_many_shares_two_are_drawn_by_weight() -> None:
    even = [owner(name, weight=weight) for name, weight in zip("abc", (6, 3, 1), strict=True)]
    counts = often("prompt_aware", even)  # equal loads: the first that was drawn
    assert counts["a"] / 2_000 == pytest.approx(0.6, abs=0.04)
    assert counts["c"] / 2_000 == pytest.approx(0.1, abs=0.03)
    worse = [owner("a", work=100, weight=6), owner("b", weight=3), owner("c", work=200, weight=1)]
    counts = often("prompt_aware", worse)
    assert counts["c"] == 0
    assert counts["b"] > 1_500  # in most pairs, and better than whoever it is with


def test_a_call_escapes_to_a_reserve_only_from_a_worker_far_above_the_mean() -> None:
    def decide(work: int, reserve: int, busy: float) -> tuple[str, str]:
        owners = [owner("a", work), owner("b", work), owner("reserve", reserve, weight=0, warm=False)]
        choice = policy("prompt_aware").choose(ask(owners, busy=busy))
        return chosen(choice), choice.reason

    assert decide(3_000, 0, busy=2_000) == ("reserve", "escape")
    assert decide(3_000, 2_900, busy=2_000)[1] == "warm"  # it would gain nothing
    assert decide(2_700, 0, busy=2_000)[1] == "warm"  # not above 1.25 of the mean and the slack
    assert decide(int(SLACK), 0, busy=0)[1] == "warm"
    owners = [owner("a", 3_000), owner("b", 3_000)]
    assert policy("prompt_aware").choose(ask(owners, busy=10)).reason == "warm"  # there is no other


def test_without_loads_the_weights_decide() -> None:
    owners = [owner("a", weight=3), owner("b", weight=1), owner("reserve", weight=0)]
    counts = often("prompt_aware", owners, live=False)
    assert counts["a"] / 2_000 == pytest.approx(0.75, abs=0.04)
    assert counts["reserve"] == 0
    owners[0].worker.own = 200  # its own calls are always known
    assert set(often("prompt_aware", owners, live=False)) == {"b"}
    assert policy("prompt_aware").choose(ask(owners, live=False)).reason == "weights"


def test_without_plan_and_loads_partitions_take_turns() -> None:
    question = ask([owner("a"), owner("b")], live=False, planned=False)
    choices = [policy("prompt_aware").choose(question) for _ in range(24)]
    assert sorted(choice.partition for choice in choices) == list(range(24))
    assert {choice.reason for choice in choices} == {"turn"}


@pytest.mark.parametrize("name", ["least_requests", "power_of_two", "prefix", "prompt_aware"])
def test_a_single_owner_is_the_only_choice(name: str) -> None:
    choice = policy(name).choose(ask([owner("a", work=10_000, calls=50, warm=False)]))
    assert (chosen(choice), choice.reason) == ("a", "only")

"""While the mesh is busy, whoever has less than their share gets in; a tenant's users share what is the tenant's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.ingress.shares import Load, Tally, may_have_another

BUSY = st.integers(1, 40)
CALLERS = st.tuples(st.sampled_from("abcde"), st.sampled_from("xyz"))
ARRIVALS = st.lists(CALLERS, max_size=300)


def let_in(busy: int, tally: Tally, tenant: str, user: str) -> bool:
    if not may_have_another(busy, tally.load(tenant, user)):
        return False
    tally.add(tenant, user)
    return True


def flood(busy: int, tally: Tally, tenant: str, user: str = "x") -> int:
    """How many of a thousand get in."""
    return sum(let_in(busy, tally, tenant, user) for _ in range(1000))


@pytest.mark.parametrize(
    ("load", "may"),
    [
        pytest.param(Load(7, 7, 7, 1, 1), True, id="not busy: whoever comes"),
        pytest.param(Load(8, 8, 8, 1, 1), False, id="alone, and has all of it"),
        pytest.param(Load(8, 0, 0, 2, 1), True, id="has nothing"),
        pytest.param(Load(11, 3, 3, 2, 1), True, id="less than half, of two"),
        pytest.param(Load(12, 4, 4, 2, 1), False, id="half, of two"),
        pytest.param(Load(90, 0, 0, 90, 1), True, id="more tenants than messages: one each"),
        pytest.param(Load(90, 1, 1, 90, 1), False, id="more tenants than messages, and has one"),
        pytest.param(Load(8, 8, 0, 1, 2), True, id="another user of the tenant that has all of it"),
        pytest.param(Load(12, 12, 4, 1, 2), False, id="a user with half of the tenant's, of two"),
        pytest.param(Load(16, 16, 0, 1, 17), False, id="a tenant with twice its share, whoever speaks"),
    ],
)
def test_share(load: Load, may: bool) -> None:
    assert may_have_another(8, load) is may


def test_one_that_is_alone_may_have_all_and_then_leaves_each_newcomer_their_part() -> None:
    tally = Tally()
    assert flood(12, tally, "noisy") == 12
    assert flood(12, tally, "second") == 6
    assert flood(12, tally, "third") == 4
    assert [flood(12, tally, name) for name in ("noisy", "second", "third")] == [0, 0, 0]


def test_one_user_does_not_keep_out_the_others_of_a_tenant_nor_do_many_users_the_other_tenants() -> None:
    tally = Tally()
    assert flood(12, tally, "only", "noisy") == 12
    assert flood(12, tally, "only", "second") == 6
    # Names that were made up for it: twice the share, however many.
    assert sum(flood(12, tally, "only", f"made up {number}") for number in range(100)) == 24 - 18
    assert flood(12, tally, "other") == 6


@given(busy=BUSY, arrivals=ARRIVALS, caller=CALLERS)
def test_whoever_is_below_their_share_is_let_in_and_whoever_has_twice_as_much_is_not(
    busy: int, arrivals: list[tuple[str, str]], caller: tuple[str, str]
) -> None:
    tally = Tally()
    for arrival in arrivals:
        tally.add(*arrival)
    load = tally.load(*caller)
    share = max(1, busy // load.tenants)
    may = may_have_another(busy, load)
    if load.total < busy or load.of_tenant < share:
        assert may
    if load.total >= busy and load.of_tenant >= 2 * share:
        assert not may
    if load.total >= busy and load.of_user >= share:
        assert not may
    # Whoever has less is never worse off.
    if may and load.of_user:
        assert may_have_another(busy, replace(load, of_tenant=load.of_tenant - 1, of_user=load.of_user - 1))


@given(busy=BUSY, arrivals=ARRIVALS)
def test_what_is_let_in_has_a_bound_for_so_many_tenants(busy: int, arrivals: list[tuple[str, str]]) -> None:
    """So the wait of whoever is let in has one: all that is before them, and nothing that comes behind."""
    tally, has = Tally(), Counter[str]()
    for tenant, user in arrivals:
        has[tenant] += let_in(busy, tally, tenant, user)
    shares = [2 * max(1, busy // (number + 1)) for number in range(len(has))]
    assert has.total() <= busy + sum(shares)
    assert all(has.values()), "somebody had nothing and was refused"


@given(steps=st.lists(st.tuples(CALLERS, st.integers(-1, 3)), max_size=200))
def test_tally_is_what_was_added_and_not_removed(steps: list[tuple[tuple[str, str], int]]) -> None:
    tally, there = Tally(), Counter[tuple[str, str]]()
    for caller, change in steps:
        if change > 0:
            tally.add(*caller, change)
            there[caller] += change
        elif there[caller]:
            tally.remove(*caller)
            there[caller] -= 1
    there = +there
    for tenant in "abcde":
        users = {user: messages for (name, user), messages in there.items() if name == tenant}
        assert tally.load(tenant, "x") == Load(
            total=there.total(),
            of_tenant=sum(users.values()),
            of_user=users.get("x", 0),
            tenants=len({name for name, _ in there} | {tenant}),
            users=len({*users, "x"}),
        )

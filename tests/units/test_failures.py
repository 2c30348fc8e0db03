"""Failed tries to prove who one is, counted by address and bounded in memory."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmesh.kernel import token_buckets
from chatmesh.web import FailedTries, Problem, failures
from chatmesh.web.failures import network_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def is_let_through(tries: FailedTries, address: str, credential: str) -> bool:
    try:
        tries.check(address, credential)
    except Problem as problem:
        return problem.code != "too_many_failures"
    return True


def fail(tries: FailedTries, address: str, times: int) -> list[bool]:
    """Whether each of so many bad credentials was looked at."""
    looked = []
    for number in range(times):
        looked.append(is_let_through(tries, address, f"bad-{number}"))
        if looked[-1]:
            tries.failed(address, f"bad-{number}")
    return looked


def test_so_many_at_once_and_then_one_every_so_often() -> None:
    clock = Clock()
    tries = FailedTries(3, clock=clock)
    assert fail(tries, "10.0.0.1", 5) == [True] * 3 + [False] * 2
    clock.now = 19.0
    with pytest.raises(Problem) as refused:
        tries.check("10.0.0.1", "x")
    assert refused.value.answer_headers["Retry-After"] == "1"
    clock.now = 20.0
    assert fail(tries, "10.0.0.1", 2) == [True, False]


def test_other_addresses_and_those_who_bring_nothing_are_not_held_up() -> None:
    tries = FailedTries(1, clock=Clock())
    assert fail(tries, "10.0.0.1", 2) == [True, False]
    assert is_let_through(tries, "10.0.0.2", "x")
    assert is_let_through(tries, "10.0.0.1", "")
    tries.failed("10.0.0.2", "")
    assert is_let_through(tries, "10.0.0.2", "x")


def test_one_who_proved_it_before_is_looked_at_again_until_it_fails() -> None:
    tries = FailedTries(1, clock=Clock())
    tries.proved("good")
    assert fail(tries, "10.0.0.1", 2) == [True, False]
    assert is_let_through(tries, "10.0.0.1", "good")
    tries.failed("10.0.0.1", "good")  # revoked
    assert not is_let_through(tries, "10.0.0.1", "good")


def test_without_a_limit_nothing_is_counted_or_kept() -> None:
    tries = FailedTries(None)
    tries.proved("good")
    assert fail(tries, "10.0.0.1", 100) == [True] * 100
    assert len(tries) == 0


def test_flood_of_addresses_and_credentials_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_buckets, "MAX_KEPT", 50)
    monkeypatch.setattr(failures, "MAX_PROVED", 50)
    tries = FailedTries(1, clock=Clock())
    for number in range(1000):
        tries.failed(f"10.0.{number // 250}.{number % 250}", "x")
        tries.proved(f"good-{number}")
    assert len(tries) <= 102


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a socket's name", "a socket's name"),
    ],
)
def test_one_client_is_an_address_or_a_network_of_ipv6(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.ip_addresses(v=6))
def test_every_ipv6_address_is_in_its_network(address: ipaddress.IPv6Address) -> None:
    found = network_of(str(address))
    if address.ipv4_mapped is None:
        assert address in ipaddress.ip_network(found)
    else:
        assert found == str(address.ipv4_mapped)

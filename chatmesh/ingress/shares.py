"""Who may have one more answer while the mesh is busy: whoever has less than their share. Pure.

The work queue is one, and workers take from it in order. So whoever is to be fair has to be so before a message is in it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Messages in flight, as one caller meets them: in all, the caller's tenant's, the caller's own. `tenants`: how many
    have any; `users`: how many of the tenant have any. Both count the caller, who may have none yet."""

    total: int
    of_tenant: int
    of_user: int
    tenants: int
    users: int


class Tally:
    """Messages in flight, by tenant and user. Those of nobody are of the tenant that has no name."""

    def __init__(self) -> None:
        self._total = 0
        self._of_tenants: Counter[str] = Counter()
        self._of_users: dict[str, Counter[str]] = {}

    def add(self, tenant: str, user: str, messages: int = 1) -> None:
        self._total += messages
        self._of_tenants[tenant] += messages
        self._of_users.setdefault(tenant, Counter())[user] += messages

    def remove(self, tenant: str, user: str) -> None:
        """One that was added."""
        self._total -= 1
        self._of_tenants[tenant] -= 1
        users = self._of_users[tenant]
        users[user] -= 1
        if not users[user]:
            del users[user]
        if not users:
            del self._of_users[tenant], self._of_tenants[tenant]

    def load(self, tenant: str, user: str) -> Load:
        """As that user meets it."""
        users = self._of_users.get(tenant, Counter())
        return Load(
            self._total,
            self._of_tenants[tenant],
            users[user],
            tenants=len(self._of_users) + (tenant not in self._of_users),
            users=len(users) + (user not in users),
        )


def may_have_another(busy: int, load: Load) -> bool:
    """False where the mesh has `busy` messages or more, the tenant its share of those, and the user a share of that. Up to
    twice a tenant's share goes to its users who have less than theirs: else the first of them would keep the others out.
    Twice, and no more, since a tenant may call its users what it likes."""
    share = _share(busy, load.tenants)
    if load.total < busy or load.of_tenant < share:
        return True
    return load.of_tenant < 2 * share and load.of_user < _share(share, load.users)


def _share(messages: int, heads: int) -> int:
    """One at least: whoever has nothing in flight waits for nobody."""
    return max(1, messages // heads)

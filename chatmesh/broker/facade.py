"""Everything of this room, put together once for the process."""

from __future__ import annotations

from collections.abc import Callable

from chatmesh.broker.api import JetStreamApi, Requests
from chatmesh.broker.cards import Cards
from chatmesh.broker.connection import Address, Connection
from chatmesh.broker.direct_get import DirectGet
from chatmesh.broker.homes import Homes
from chatmesh.broker.keeper import StreamKeeper
from chatmesh.broker.layout import Layout
from chatmesh.broker.lease_book import LeaseBook
from chatmesh.broker.ownership import Ownership
from chatmesh.broker.publisher import Publisher
from chatmesh.broker.registry import Heartbeats, Registry
from chatmesh.broker.replies import PeerReplies, Replies
from chatmesh.broker.requests import RequestQueue
from chatmesh.broker.retries import Retries
from chatmesh.broker.ring_file import RingFile
from chatmesh.broker.sessions import Sessions
from chatmesh.broker.spent import Spent
from chatmesh.broker.storage import Storage
from chatmesh.broker.streams import CONSUMER, REQUESTS, ConsumerSpec, StreamSettings
from chatmesh.broker.transcript import Transcript
from chatmesh.broker.vault import Vault
from chatmesh.kernel import Service


class Broker:
    """The room's parts, wired. `services` stand in the order in which they must start."""

    def __init__(
        self,
        address: Callable[[], Address],
        settings: StreamSettings,
        *,
        ack_wait_seconds: float,
        pulls: bool,
        fenced: bool = True,
        tells_apart: bool = False,
        key_ring: RingFile | None = None,
        accepts_clear: bool = False,
    ) -> None:
        """`tells_apart`: sessions belong to callers. `key_ring`: payloads are sealed; `accepts_clear`: those in clear are
        taken all the same."""
        self.is_replicated = settings.replicas > 1
        """Reads may be answered by a server that is behind."""
        self.connection = Connection(address)
        self.replies = Replies(self.connection)
        self.requests = Requests(self.connection, self.replies)
        self.api = JetStreamApi(self.requests)
        self.layout = Layout(self.api)
        self.publisher = Publisher(self.connection, self.replies, on_unheard=self._doubt, layout=self.layout)
        self.peer_replies = PeerReplies(self.connection)
        self.peers = Requests(self.connection, self.peer_replies)
        """For questions to pods and workers: who is asked learns nothing of where JetStream answers."""
        self.streams = StreamKeeper(
            self.connection,
            self.api,
            settings,
            ConsumerSpec(REQUESTS, CONSUMER, ack_wait_seconds),
            layout=self.layout,
            pulls=pulls,
        )
        self.direct_get = DirectGet(self.connection, self.replies, on_unheard=self._doubt)
        self.cards = Cards(
            self.api,
            self.direct_get,
            self.publisher,
            refresh_seconds=settings.cards_refresh_seconds,
            is_replicated=self.is_replicated,
        )
        self.key_ring = key_ring
        self.vault = Vault(self.cards, key_ring, accepts_clear=accepts_clear)
        self.ownership = Ownership(self.cards, self.vault, is_on=tells_apart)
        self.homes = Homes(self.layout, self.direct_get, self.publisher, settings)
        self.transcript = Transcript(self.direct_get, self.publisher, self.vault, self.homes, fenced=fenced)
        self.queue = RequestQueue(self.direct_get, self.publisher, self.vault, self.homes)
        self.sessions = Sessions(self.api, self.direct_get, self.queue, self.ownership, self.homes)
        self.registry = Registry(self.direct_get, self.publisher)
        self.retries = Retries(self.direct_get, self.publisher)
        self.spent = Spent(self.direct_get, self.publisher)
        self.heartbeats = Heartbeats(self.connection, self.direct_get)
        self.lease_book = LeaseBook(self.connection, self.direct_get)

    @property
    def services(self) -> tuple[tuple[str, Service], ...]:
        key_ring = () if self.key_ring is None else (("key-ring", self.key_ring),)
        return (
            *key_ring,
            ("connection", self.connection),
            ("replies", self.replies),
            ("peer-replies", self.peer_replies),
            ("publisher", self.publisher),
            ("streams", self.streams),
        )

    @property
    def storage(self) -> Storage:
        """How full the streams are."""
        return self.streams.storage

    def _doubt(self) -> None:
        self.streams.doubt()

    @property
    def is_ready(self) -> bool:
        """Connected, and the streams are as declared."""
        return self.connection.is_connected and self.streams.problem is None and self.layout.is_known

"""NATS and JetStream: the only room that imports `nats`.

In: values of the protocol. Out: stored messages, leased deliveries, pages of the transcript. Nothing here knows what a
reader or a model is.
"""

from chatmesh.broker.api import ApiError, JetStreamApi, Requests
from chatmesh.broker.backlog import Backlog
from chatmesh.broker.cards import Cards
from chatmesh.broker.connection import Address, Connection, Denial
from chatmesh.broker.direct_get import DirectGet, Stored
from chatmesh.broker.facade import Broker
from chatmesh.broker.inbox import Inbox
from chatmesh.broker.layout import Part
from chatmesh.broker.lease_book import LeaseBook
from chatmesh.broker.listener import Listener
from chatmesh.broker.message import Msg
from chatmesh.broker.ownership import Begun, Ownership, Whose
from chatmesh.broker.publisher import PubAck, Publisher
from chatmesh.broker.puller import Delivery, Puller
from chatmesh.broker.registry import Heartbeats, Holder, Registry
from chatmesh.broker.replies import Replies
from chatmesh.broker.requests import Queued, RequestQueue
from chatmesh.broker.retries import Retries
from chatmesh.broker.ring_file import RingFile
from chatmesh.broker.sessions import SessionRow, Sessions
from chatmesh.broker.states import BLANK, HeldClaim, MessageState, Records, SessionState
from chatmesh.broker.streams import CONSUMER, REQUESTS, ConsumerSpec, StreamSettings
from chatmesh.broker.transcript import Transcript
from chatmesh.broker.vault import Opened, Vault

__all__ = [
    "BLANK",
    "CONSUMER",
    "REQUESTS",
    "Address",
    "ApiError",
    "Backlog",
    "Begun",
    "Broker",
    "Cards",
    "Connection",
    "ConsumerSpec",
    "Delivery",
    "Denial",
    "DirectGet",
    "Heartbeats",
    "HeldClaim",
    "Holder",
    "Inbox",
    "JetStreamApi",
    "LeaseBook",
    "Listener",
    "MessageState",
    "Msg",
    "Opened",
    "Ownership",
    "Part",
    "PubAck",
    "Publisher",
    "Puller",
    "Queued",
    "Records",
    "Registry",
    "Replies",
    "RequestQueue",
    "Requests",
    "Retries",
    "RingFile",
    "SessionRow",
    "SessionState",
    "Sessions",
    "Stored",
    "StreamSettings",
    "Transcript",
    "Vault",
    "Whose",
]

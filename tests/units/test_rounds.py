"""What a tick of the hub walks over: what waits, and what is due."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from chatmesh.broker import Transcript
from chatmesh.hub.channel import Channel
from chatmesh.hub.hub import Hub, HubSettings
from chatmesh.hub.reader import Reader
from chatmesh.hub.rounds import Rounds
from chatmesh.hub.wires import Native
from chatmesh.kernel import Mailbox
from chatmesh.protocol.positions import START
from tests.units.made import SESSION, chunk, record
from tests.units.sinks import FakeSink


def reader(hub: Hub) -> Reader:
    sink = FakeSink()
    return Reader(sink, Native(hub.scope(SESSION)), START, message_id=None, max_buffer_bytes=1000)


def quiet_hub() -> Hub:
    transcript = cast("Transcript", SimpleNamespace(epoch_now=lambda _session_id: "e"))
    return Hub(transcript, HubSettings(10, 1000, 15.0), Mailbox[Channel](10, name="mender"))


def test_each_reader_is_handed_out_once_when_its_time_has_come() -> None:
    hub, rounds = quiet_hub(), Rounds()
    first, second, gone = reader(hub), reader(hub), reader(hub)
    rounds.add(second, 2.0)
    rounds.add(gone, 0.5)
    rounds.remove(gone)
    rounds.add(first, 1.0)
    assert rounds.due(0.9) == []
    assert rounds.due(5.0) == [first, second]
    assert (rounds.due(9.0), len(rounds)) == ([], 0)


def test_channel_is_watched_while_an_answer_is_under_way_and_not_before() -> None:
    hub = quiet_hub()
    channel = hub.enter(SESSION)
    channel.attach(reader(hub), 0, 0)
    assert hub.watched() == []
    channel.on_record(record(1, chunk(0)), now=1.0)
    assert hub.watched() == [channel]
    channel.on_record(record(2, chunk(1, final="stop")), now=2.0)
    assert not channel.is_waiting, "so the next tick forgets it"


def test_channel_whose_readers_have_left_is_watched_no_more() -> None:
    hub = quiet_hub()
    channel = hub.enter(SESSION)
    channel.attach(reader(hub), 0, 0)
    channel.expect(1.0)
    hub.leave(channel)
    assert hub.watched() == []
    channel.expect(2.0)  # by the mender, whose look was under way
    assert hub.watched() == []

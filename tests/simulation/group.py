"""Consumer groups on the simulated log: who owns which partition, and what each member polls and commits.

A rebalance goes as Kafka's does: every member that answers gives its partitions up and commits, then all are given
their shares under the next generation. A member that does not answer is left out, and goes on as a zombie until it
hears of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from alto_streams.log.commit_gate import Gate
from alto_streams.log.handover import Taker
from tests.simulation.log import Place
from tests.simulation.loop import ProcessLoop

if TYPE_CHECKING:
    from tests.simulation.world import World


class Group:
    """The coordinator's view of one consumer group. `copartitioned`: a partition of all topics has one owner."""

    def __init__(self, world: World, topics: list[str], *, copartitioned: bool) -> None:
        self._world, self._topics, self._copartitioned = world, topics, copartitioned
        self.members: list[Consumer] = []
        self.generation = 0
        self.committed: dict[Place, int] = {}
        self._round, self._to_answer = 0, list[Consumer]()

    def join(self, member: Consumer) -> None:
        """A process has started, or has found out that it had been left out."""
        if member not in self.members:
            self.members.append(member)
        self.rebalance()

    def leave(self, member: Consumer) -> None:
        """Its session has expired."""
        if member in self.members:
            self.members.remove(member)
            self.rebalance()

    def rebalance(self) -> None:
        """Every member has to give up and to commit what it has, then the partitions are shared out anew."""
        self._round += 1
        self._to_answer = list(self.members)
        for member in self.members:
            member.loop.call_soon(member.revoked, self._round)

    def gave_up(self, member: Consumer, round_: int) -> None:
        """A member has committed and polls no more."""
        if round_ != self._round or member not in self._to_answer:
            return
        self._to_answer.remove(member)
        if not self._to_answer:
            self._share_out()

    def commit(self, member: Consumer, place: Place, position: int) -> None:
        """Refused to whoever is no member of this generation."""
        if member.is_owner:
            self.committed[place] = position

    def _share_out(self) -> None:
        rng = self._world.rng
        self.generation += 1
        shares: dict[int, set[Place]] = {n: set() for n in range(len(self.members))}
        for partition in range(self._world.log.partitions):
            owner = rng.randrange(len(self.members))
            for topic in self._topics:
                if not self._copartitioned:
                    owner = rng.randrange(len(self.members))
                shares[owner].add((topic, partition))
        for n, member in enumerate(self.members):
            member.loop.call_soon(member.assigned, self._round, self.generation, frozenset(shares[n]))


class Record(NamedTuple):
    """A record as aiokafka hands it out; the timestamp is in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Consumer:
    """The consumer of one process: its generation, its positions and, through the real gate, what it commits."""

    def __init__(self, world: World, loop: ProcessLoop, group: Group) -> None:
        self._world, self.loop, self.group = world, loop, group
        self.generation, self.places = 0, frozenset[Place]()
        self._round = 0
        self._gate: Gate[Place] = Gate(self.held)
        self._positions: dict[Place, int] = {}
        self._fetching: set[Place] = set()
        self._takers: dict[str, Taker] = {}

    def subscribe(self, topics: list[str]) -> None:
        """Hear of records of these topics, to be handed over once there is a taker."""
        for topic in topics:
            for partition in range(self._world.log.partitions):
                self._world.log.follow((topic, partition), self, self._wake)

    def feed(self, topics: list[str], taker: Taker) -> None:
        """Hand the records of topics to this taker from now on."""
        self._takers.update(dict.fromkeys(topics, taker))
        self.wake()

    def wake(self) -> None:
        """What may be fetched has changed."""
        for place in sorted(self._positions):
            self._wake(place)

    def revoked(self, round_: int) -> None:
        """A rebalance begins."""
        if round_ < self._round:
            return  # another one has begun since
        self._round = round_
        self.commit()
        self._stop_polling()
        self.group.gave_up(self, round_)

    def assigned(self, round_: int, generation: int, places: frozenset[Place]) -> None:
        """A rebalance has ended, unless another one has begun."""
        if round_ == self._round:
            self._stop_polling()
            self.generation, self.places = generation, places
            self.fenced(False)
            self.on_assigned()

    def on_assigned(self) -> None:
        """What a process does with its share: at once, poll it."""
        self.poll()

    def held(self, place: Place) -> int | None:
        """The lowest offset that may not be committed yet though its record is finished."""
        return None

    def fenced(self, is_fenced: bool) -> None:
        """Whether its last heartbeat is too old for it to produce."""

    @property
    def is_owner(self) -> bool:
        """Whether the group knows it under the generation that it knows."""
        return self in self.group.members and self.generation == self.group.generation

    def poll(self) -> None:
        """Begin to poll, at what has been committed."""
        if not self.is_owner:
            self.fenced(True)  # rows of one time with an offset of another would be wrong: only the fence prevents it
        for place in sorted(self.places):
            self._positions[place] = self.group.committed.get(place, 0)
            self._wake(place)

    def finished(self, topic: str, partition: int, offsets: Iterable[int], generation: int) -> None:
        """Records are acknowledged; now and then what may be committed is."""
        place = (topic, partition)
        for offset in offsets:
            if self._gate.finish(place, offset, generation) and self._world.rng.random() < 0.3:
                self._commit(place)

    def commit(self) -> None:
        """Commit all that is finished."""
        for place in self._gate.partitions():
            self._commit(place)

    def _stop_polling(self) -> None:
        self._gate.revoke(list(self._positions))
        self._positions.clear()

    def _commit(self, place: Place) -> None:
        position = self._gate.position(place)
        if position is not None and not self.loop.dead:
            self.group.commit(self, place, position)

    def _wake(self, place: Place) -> None:
        if place in self._positions and place not in self._fetching and not self.loop.dead:
            self._fetching.add(place)
            self.loop.call_soon(self._fetch, place)

    def _fetch(self, place: Place) -> None:
        self._fetching.discard(place)
        topic, partition = place
        position, taker = self._positions.get(place), self._takers.get(topic)
        if position is None or taker is None or taker.is_full(topic):
            return
        found = self._world.log.read(place, position, self._world.rng.choice((1, 2, 4, 8)))
        for each in found:
            self._gate.deliver(place, each.offset, self.generation)
        if found:
            self._positions[place] = position = found[-1].offset + 1
            taker.take(
                self.generation,
                [Record(topic, partition, each.offset, each.at_ms, each.key, each.value or b"") for each in found],
            )
        if position < self._world.log.end(place):
            self._wake(place)

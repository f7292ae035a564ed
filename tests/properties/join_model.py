"""One gather at its home, told by the homes of a chain of stages what they accepted, closed and withdrew.

Every home's records come in its own order; the homes among one another in any, and any record may come again. The
oracle computes from all that has been told so far what the gather must have said, at every path, and nothing else.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import msgspec

from alto_streams.define.pipeline import Gather, Pipeline
from alto_streams.tables.calls import Limits
from alto_streams.tables.machine import StageMachine
from alto_streams.tables.rows import Row, Send, decode_row, encode_row
from alto_streams.tables.turns import At
from alto_streams.wire.records import Cancel, Child, Close, HomeRecord, Items, Raw, Request, Retract, Status
from tests.placing import Always
from tests.properties import made
from tests.properties.made import Item
from tests.properties.scope_model import Fact, Oracle, Violation, Where, unwire, wire

REQUEST_ID = "request-1"
MOST_RECORDS = 40
REQUEST = Request(REQUEST_ID, "chain", Raw(b'{"text":"why?"}'))


@lru_cache
def chain(levels: int, depth: int, volatile: bool) -> Pipeline:
    """A chain of `levels` stages, a gather of the last one's items below each item of stage `depth`, and a root."""
    question = made.item_type("question")
    pipeline, kinds = Pipeline("chain", request=question), [question]
    for level in range(1, levels + 1):
        kinds.append(made.item_type(f"item{level}"))
        broken = "redo" if volatile or level <= depth else "resume"
        made.generate(pipeline, f"s{level}", {"given": kinds[-2]}, kinds[-1], broken=broken)
    found = made.item_type("found")
    made.gather(pipeline, "found", {"given": kinds[depth], "leaves": Gather[kinds[-1]]}, found, made.asked)  # type: ignore[misc]
    made.gather(pipeline, "answer", {"all": Gather[found]}, made.item_type("answer"), made.asked)  # type: ignore[valid-type]
    _ = pipeline.root
    return pipeline


class Chain:
    """What the homes of the stages say, each in its order, of one request."""

    def __init__(self, rng: random.Random) -> None:
        self.levels = rng.randint(1, 5)
        self.depth = rng.randrange(self.levels)
        self.volatile = rng.random() < 0.7
        self.records: list[list[Any]] = [[] for _ in range(self.levels + 1)]
        self.records[0].append(REQUEST)
        self._rng, self._said = rng, 0
        self._children = list[tuple[int, Where]]()
        self._stream((), 1)
        if self._children and rng.random() < 0.3:
            for level, where in rng.choices(self._children, k=rng.randint(1, 2)):
                self.records[0].append(Cancel(REQUEST_ID, wire(where), cause="enough of it", stage=f"s{level}"))

    def _stream(self, at: Where, level: int) -> None:
        rng, epoch, children = self._rng, 0, 0
        redoable = self.volatile or level <= self.depth
        while True:
            most = 0 if self._said > MOST_RECORDS else 3
            for _ in range(rng.randint(0, most)):
                self._child(at, level, children, epoch)
                children += 1
            redo = redoable and rng.random() < 0.3 and self._said <= MOST_RECORDS
            if not redo or rng.random() < 0.4:
                status = Status.FAILED if rng.random() < 0.1 else Status.OK
                self._say(level, Items("", "", "", children, epoch, [], Close(children, status, f"cause {epoch}")), at)
            if not redo:
                return
            first, epoch = rng.choice((0, rng.randint(0, children))), epoch + 1
            self._say(level, Retract("", "", "", first, epoch), at)
            children = first

    def _child(self, at: Where, level: int, nth: int, epoch: int) -> None:
        failed = self._rng.random() < 0.1
        where = (*at, (nth, epoch))
        self._children.append((level, where))
        value = Raw(msgspec.json.encode(Item(f"{level}:{wire(where)}")))
        child = Child(status=Status.FAILED, cause="malformed") if failed else Child(value)
        if level in (self.depth, self.levels):
            self._say(level, Items("", "", "", nth, epoch, [child]), at)
        if level < self.levels:
            if failed:
                self._say(level + 1, Items("", "", "", 0, 0, [], Close(0, Status.FAILED, "no input")), where)
            else:
                self._stream(where, level + 1)

    def _say(self, level: int, record: Any, at: Where) -> None:
        self._said += 1
        record = msgspec.structs.replace(record, request=REQUEST_ID, stage=f"s{level}", path=wire(at))
        self.records[level].append(record)


class JoinWorld:
    """The gather's home, and what it must have said."""

    def __init__(self, chain_: Chain) -> None:
        self.chain, self.levels, self.depth = chain_, chain_.levels, chain_.depth
        pipeline = chain(self.levels, self.depth, chain_.volatile)
        self._machine = StageMachine(pipeline, "found", Always(), Limits(3, 1_000))
        self.row, self.offset, self.told = Row(), 0, 0
        self.oracle = Oracle(())
        self.items = dict[Where, Child]()  # children of the gathered stage and of the driver, whatever became of them
        self.drivers = dict[Where, Child]()
        self.failed = dict[tuple[Where, int], str]()  # streams of the gathered stage that failed, by epoch
        self.kept, self.cancelled = set[Where](), set[Where]()  # items that were cancelled: too late, or in time
        self.standing = dict[Where, tuple[int, Any]]()  # what the gather says now: (epoch, text or None if it failed)
        self.epochs = dict[Where, int]()
        self.said = list[HomeRecord]()

    def tell(self, record: HomeRecord) -> None:
        """One more record."""
        self.told += 1
        self.said.append(record)
        self._learn(record)
        self.offset += 1
        for each in self._machine.apply(self.row, record, At("home", 0, self.offset, self.offset)).asked:
            if isinstance(each, Send) and each.topic == "chunks.chain.answer":
                self._hear(msgspec.json.decode(each.record))
        self._check()

    def again(self, pick: int) -> None:
        """Any record is told once more."""
        self.tell(self.said[pick % len(self.said)])

    def forget(self) -> None:
        """Only the encoded row is left."""
        self.row = decode_row(encode_row(self.row))
        self._machine.forget(REQUEST_ID)

    # --- what follows from what was told

    def _learn(self, record: Any) -> None:
        match record:
            case Request():
                if self.depth == 0:
                    self.drivers[()] = Child(record.input)
            case Retract():
                self._learn_facts([Fact("withdraw", unwire(record.path), record.first, record.epoch)])
            case Items():
                self._learn_items(record)
            case Cancel():
                self._learn_cancel(unwire(record.path))

    def _learn_items(self, items: Items) -> None:
        level, at = int(items.stage[1:]), unwire(items.path)
        for n, child in enumerate(items.children):
            where = (*at, (items.first + n, items.epoch))
            leaf = Fact("leaf", where)
            self._learn_facts([leaf] if level == self.levels else self.oracle.implied(leaf))
            if not self.oracle.is_void(leaf):
                (self.items if level == self.levels else self.drivers)[where] = child
        if items.close is not None:
            close = Fact("close", at, items.close.count, items.epoch)
            self._learn_facts([close])
            if level == self.levels and items.close.status is not Status.OK and not self.oracle.is_void(close):
                self.failed[at, items.epoch] = items.close.cause or ""

    def _learn_cancel(self, where: Where) -> None:
        fact, gather = Fact("cut", where), where[: self.depth]
        self._learn_facts(self.oracle.implied(fact))
        if where in self.oracle.cuts or self.oracle.is_void(fact):
            return
        begun = gather in self.standing and (self.standing[gather][1] is None or self.oracle.is_complete(gather))
        if len(where) > self.depth and begun:
            self.kept.add(where)  # the gather has begun: it keeps what it has
        elif where in self.items and self.items[where].status is Status.OK:
            self.cancelled.add(where)
        self.oracle.learn(fact)

    def _is_gone(self, where: Where) -> bool:
        """Whether it is dead, or has been cut off before its gather had begun."""
        cut = any(where[:n] in self.oracle.cuts and where[:n] not in self.kept for n in range(1, len(where) + 1))
        return cut or self.oracle.is_dead(where)

    def _learn_facts(self, facts: list[Fact]) -> None:
        for fact in facts:
            for each in (*self.oracle.implied(fact), fact):
                if not self.oracle.is_void(each):
                    self.oracle.learn(each)

    def _expected(self, at: Where, driver: Child) -> Any:
        """What the gather must say of one item of its driver now: a text; None if its driver failed; or nothing."""
        if driver.status is not Status.OK:
            return None
        if not self.oracle.is_complete(at):
            return _nothing
        leaves = sorted(w for w in self.items if w[: self.depth] == at and not self._is_gone(w))
        items = {wire(w): _text(self.items[w]) for w in leaves if self.items[w].status is Status.OK}
        failures = {wire(w): "" for w in leaves if self.items[w].status is not Status.OK}
        cancelled = (w for w in self.cancelled if w[: self.depth] == at and not self._is_gone(w[:-1]))
        failures |= {wire(w): "" for w in cancelled if not self.oracle.is_dead(w)}
        for stream, epoch in self.failed:
            of = stream[: self.depth] == at and not self._is_gone(stream)
            if of and max(self.oracle.closes[stream], default=0) == epoch and self.oracle.count(stream) is not None:
                failures[wire(stream)] = ""
        given = Item(_text(driver))
        return made.asked({"given": given, "leaves": Gather({p: Item(t) for p, t in items.items()}, failures)})

    # --- what it says

    def _hear(self, record: dict[str, Any]) -> None:
        at, epoch = unwire(record["path"]), record.get("epoch", 0)
        if record["type"] == "retract":
            if at not in self.standing or epoch != self.epochs.get(at, 0) + 1:
                raise Violation(f"withdrew {record}, where {self.standing.get(at)} stood")
            del self.standing[at]
            self.epochs[at] = epoch
        elif record["type"] == "items":
            if at in self.standing or epoch != self.epochs.get(at, 0):
                raise Violation(f"said {record}, where {self.standing.get(at)} stood")
            children = record.get("children", [])
            self.standing[at] = (epoch, children[0]["value"]["text"] if children else None)

    def _check(self) -> None:
        for at in [at for at in self.standing if self._is_gone(at)]:
            del self.standing[at]
        expected = {
            at: said
            for at, driver in self.drivers.items()
            if not self._is_gone(at) and (said := self._expected(at, driver)) is not _nothing
        }
        found = {at: text for at, (_, text) in self.standing.items()}
        if found != expected:
            raise Violation(f"after {self.said[-1]}: it says {found}, must say {expected}")

    def check_kept(self) -> None:
        """Nothing that is dead is in the row."""
        for table in (self.row.values, self.row.failures):
            for source, values in table.items():
                for path in values:
                    if self.oracle.is_dead(unwire(path)):
                        raise Violation(f"the row keeps {path} of {source}, which is dead")
        for path in [*self.row.calls, *(p for scopes in self.row.scopes.values() for p in scopes)]:
            if self.oracle.is_dead(unwire(path)):
                raise Violation(f"the row keeps the call or scope at {path}, which is dead")

    def check_end(self) -> None:
        """Once all has been told, every gather has said its last."""
        self.check_kept()
        live = {at for at in self.drivers if not self._is_gone(at)}
        if set(self.standing) != live:
            raise Violation(f"gathers are stuck at {live - set(self.standing)}")


_nothing = object()


def _text(child: Child) -> str:
    return str(msgspec.json.decode(child.value)["text"])


def run(seed: int) -> int:
    """One interleaving: all records of one chain, merged at random, with repetitions. Returns how many were told."""
    rng = random.Random(seed)
    chain_ = Chain(rng)
    world = JoinWorld(chain_)
    queues = [list(reversed(records)) for records in chain_.records if records]
    patience = rng.choice((0.0, 0.0, 0.6))  # how likely the same home goes on
    queue = rng.choice(queues)
    while queues:
        if not queue or rng.random() >= patience:
            queue = rng.choice(queues)
        world.tell(queue.pop())
        queues = [each for each in queues if each]
        if rng.random() < 0.12:
            world.again(rng.randrange(1_000))
        if rng.random() < 0.05:
            world.forget()
    world.check_end()
    return world.told

"""Drives aiokafka: each producer and each member has an event loop of its own."""

import asyncio
import logging
import sys
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import CommitFailedError, KafkaError, RebalanceInProgressError, for_code

import contract

HEADROOM = 64 << 10  # the size of a record's batch and request without its value


class Unsecured(AbstractTokenProvider):
    def __init__(self, subject):
        self.subject = subject

    async def token(self):
        return contract.unsecured_jwt(self.subject)[0]


def common(o):
    c = {"bootstrap_servers": o.bootstrap, "client_id": "aiokafka", "security_protocol": o.security}
    if o.sasl:
        c.update(sasl_mechanism=o.mechanism, sasl_plain_username=o.username, sasl_plain_password=o.password)
        if o.mechanism == "OAUTHBEARER":
            c["sasl_oauth_token_provider"] = Unsecured(o.username)
    return c


def new_producer(o, **more):
    return AIOKafkaProducer(
        **common(o), acks={"0": 0, "1": 1, "all": "all"}[o.acks], max_request_size=max(1 << 20, o.size + HEADROOM),
        compression_type=None if o.compression == "none" else o.compression,
        request_timeout_ms=1000 * max(5, int(o.left())), **more)


def new_consumer(o, topic, instance="", **more):
    if o.max_bytes:
        more.update(fetch_max_bytes=o.max_bytes, max_partition_fetch_bytes=o.max_bytes)
    # aiokafka does not ask for the leaders after ListOffsets was refused by a broker that leads no
    # more: without a short age of metadata such a consumer, a direct one too, stops for minutes.
    return AIOKafkaConsumer(
        topic, **common(o), group_id=o.group, auto_offset_reset="earliest", group_instance_id=instance or None,
        metadata_max_age_ms=1000,
        client_rack=o.rack or None, isolation_level="read_" + o.isolation, **more)


class Producer:
    """Hands records to the loop's thread."""

    def __init__(self, o):
        self.o = o
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.pending = set()
        self.kafka = self.run(self.start())

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(max(1, self.o.left()))

    async def start(self):
        kafka = new_producer(self.o, enable_idempotence=self.o.idempotent)
        await started(kafka)
        return kafka

    def send(self, key, value, done):
        self.run(self.hand_over(key, value, done))

    async def hand_over(self, key, value, done):
        future = await self.kafka.send(self.o.topic, value=value, key=key)
        self.pending.add(future)
        future.add_done_callback(self.pending.discard)
        future.add_done_callback(lambda f: done(f.exception()))

    def close(self, seconds):
        self.run(self.finish())

    async def finish(self):
        await asyncio.gather(*self.pending, return_exceptions=True)
        await self.kafka.stop()


complaints = contract.Complaints("aiokafka")


async def started(what, stop=None):
    """Starts it, or leaves nothing behind and says why."""
    try:
        await what.start()
    except KafkaError as e:
        await (stop or what.stop)()
        raise RuntimeError(f"{e}: {complaints.told}") from e


def check(response, field):
    """The library leaves the error codes of responses to its users."""
    for item in getattr(response, field):
        code = next(n for n in item if isinstance(n, int)) if isinstance(item, tuple) else item
        message = item[-1] if isinstance(item[-1], str) else ""
        if code:
            raise for_code(code)(message)


class AIOKafka(contract.Client):
    name = "aiokafka"

    def version(self):
        return aiokafka.__version__

    def check(self, o):
        if o.work == "consume" and o.protocol != "classic":
            raise contract.NotOffered("aiokafka knows the classic group protocol only")
        if o.handshake_v0:
            raise contract.NotOffered("aiokafka takes the newest SaslHandshake that the broker has")

    def producer(self, o):
        return Producer(o)

    def consume(self, o, instance, each, stop):
        asyncio.run(self.member(o, instance, each, stop))

    async def member(self, o, instance, each, stop):
        consumer = new_consumer(o, o.topic, instance, enable_auto_commit=False)
        await started(consumer)
        try:
            while not stop.is_set():
                batch = await consumer.getmany(timeout_ms=200)
                for records in batch.values():
                    for record in records:
                        each(record.value)
                if batch:
                    await commit(consumer)
        finally:
            await consumer.stop()

    def addresses(self, o):
        async def ask():
            admin = AIOKafkaAdminClient(**common(o))
            await started(admin, admin.close)
            try:
                return (await admin.describe_cluster())["brokers"]
            finally:
                await admin.close()

        return [f"{b['host']}:{b['port']}" for b in asyncio.run(ask())]

    def transaction(self, o, r):
        o.acks = "all"
        loop = asyncio.new_event_loop()

        def run(coroutine):
            return loop.run_until_complete(asyncio.wait_for(coroutine, max(1, o.left())))

        async def start():
            producer = new_producer(o, transactional_id=o.transactional_id)
            await started(producer)
            return producer

        producer = run(start())
        if o.source:
            self.transform(o, r, producer, run)
        else:
            contract.transactions(o, r, lambda records, commit: run(self.one(o, producer, records, commit)))
        run(producer.stop())

    async def one(self, o, producer, records, commit):
        await producer.begin_transaction()
        await store(o, producer, records)
        await (producer.commit_transaction() if commit else producer.abort_transaction())

    def transform(self, o, r, producer, run):
        o.isolation = "committed"

        async def start():
            consumer = new_consumer(o, o.source, enable_auto_commit=False)
            await started(consumer)
            return consumer

        consumer = run(start())
        contract.transform(o, r, lambda limit, commit: run(self.copy(o, producer, consumer, limit, commit)))
        run(consumer.stop())

    async def copy(self, o, producer, consumer, limit, commit):
        batch = await consumer.getmany(timeout_ms=500, max_records=limit)
        ours = [(rec.key, rec.value) for records in batch.values() for rec in records
                if contract.number(o.prefix, rec.value) is not None]
        if not ours:
            return 0, False
        await producer.begin_transaction()
        await store(o, producer, ours)
        if commit:
            offsets = {tp: records[-1].offset + 1 for tp, records in batch.items()}
            await producer.send_offsets_to_transaction(offsets, o.group)
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
            for tp, records in batch.items():
                consumer.seek(tp, records[0].offset)
        return len(ours), commit

    def admin(self, o, r):
        loop = asyncio.new_event_loop()

        def run(coroutine):
            return loop.run_until_complete(asyncio.wait_for(coroutine, max(1, o.left())))

        async def start():
            admin = AIOKafkaAdminClient(**common(o))
            await started(admin, admin.close)
            return admin

        admin, s = run(start()), contract.Steps(o, r)

        def partitions(want):
            (topic,) = run(admin.describe_topics([o.topic]))
            return contract.expect(len(topic["partitions"]), want, "partitions")

        def describe_cluster():
            c = run(admin.describe_cluster())
            return f"{len(c['brokers'])} brokers, controller {c['controller_id']}"

        def alter_config():
            change = ConfigResource(ConfigResourceType.TOPIC, o.topic, {"retention.ms": "7200000"})
            for response in run(admin.alter_configs([change])):
                check(response, "resources")

        def describe_configs():
            (response,) = run(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, o.topic)]))
            check(response, "resources")
            values = {entry[0]: entry[1] for entry in response.resources[0][4]}
            contract.expect(values["retention.ms"], "7200000", "retention.ms")

        def list_topics():
            topics = run(admin.list_topics())
            if o.topic not in topics:
                raise RuntimeError("the topic is not among them")
            return len(topics)

        s.do("create_topic", lambda: check(run(admin.create_topics([NewTopic(o.topic, 3, o.replication)])), "topic_errors"))
        s.look("describe_topic", lambda: partitions(3))
        s.look("describe_cluster", describe_cluster)
        s.do("alter_config", alter_config)
        s.look("describe_configs", describe_configs)
        s.do("add_partitions", lambda: check(run(admin.create_partitions({o.topic: NewPartitions(5)})), "topic_errors"))
        s.look("added_partitions", lambda: partitions(5))
        s.look("list_topics", list_topics)
        groups = []
        s.look("list_groups", lambda: groups.extend(g[0] for g in run(admin.list_consumer_groups())) or len(groups))
        group = o.group or min(groups, default="")

        def describe_group():
            (response,) = run(admin.describe_consumer_groups([group]))
            check(response, "groups")
            return response.groups[0][2]

        if group:
            s.look("describe_group", describe_group)
        else:
            r.detail("describe_group", "ok: there is no group")
        s.not_offered("metadata_quorum", "no DescribeQuorum")
        s.do("delete_topic", lambda: check(run(admin.delete_topics([o.topic])), "topic_error_codes"))
        s.check()


async def store(o, producer, records):
    futures = [await producer.send(o.topic, key=key, value=value) for key, value in records]
    await asyncio.gather(*futures)


async def commit(consumer):
    """Commits the records that were read. A failure costs duplicates, which are counted."""
    try:
        await consumer.commit()
    except (CommitFailedError, RebalanceInProgressError) as e:
        print("commit:", e, file=sys.stderr)
    except KafkaError as e:
        if not e.retriable:
            raise
        print("commit:", e, file=sys.stderr)


logging.basicConfig(level=logging.WARNING)
if __name__ == "__main__":
    contract.main(AIOKafka())

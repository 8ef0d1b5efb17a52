"""Drives kafka-python."""

import logging

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.net.sasl.oauth import AbstractTokenProvider

import contract

HEADROOM = 64 << 10  # the size of a record's batch and request without its value


class Unsecured(AbstractTokenProvider):
    def __init__(self, subject):
        super().__init__()
        self.subject = subject

    def token(self):
        return contract.unsecured_jwt(self.subject)[0]


def common(o):
    c = {
        "bootstrap_servers": o.bootstrap, "client_id": "kafka-python",
        "bootstrap_timeout_ms": 1000 * min(30, max(1, int(o.left()))),
        "reconnect_backoff_max_ms": 1000,
    }
    if o.broker_version:
        c["api_version"] = tuple(int(n) for n in o.broker_version.split("."))
    if o.handshake_v0:  # the version for brokers which know no other
        c["api_version"] = (0, 11)
    if o.sasl:
        c.update(
            security_protocol=o.security, sasl_mechanism=o.mechanism,
            sasl_plain_username=o.username, sasl_plain_password=o.password)
        if o.mechanism == "OAUTHBEARER":
            c["sasl_oauth_token_provider"] = Unsecured(o.username)
    return c


complaints = contract.Complaints("kafka")


def connect(make, **config):
    """Makes a client, or says why not: the library only logs it."""
    try:
        return make(**config)
    except kafka.errors.KafkaError as e:
        raise RuntimeError(f"{e}: {complaints.told}") from e


class Producer:
    def __init__(self, o, **more):
        self.o = o
        size = max(1 << 20, o.size + HEADROOM)
        self.kafka = connect(
            KafkaProducer, **common(o), acks={"0": 0, "1": 1, "all": "all"}[o.acks], max_request_size=size,
            compression_type=None if o.compression == "none" else o.compression,
            max_block_ms=1000 * max(1, int(o.left())), delivery_timeout_ms=1000 * max(31, int(o.left())),
            **{"enable_idempotence": o.idempotent, **more})

    def send(self, key, value, done):
        future = self.kafka.send(self.o.topic, key=key, value=value)
        future.add_callback(lambda _: done(None))
        future.add_errback(done)
        return future

    def close(self, seconds):
        self.kafka.flush(timeout=max(1, seconds))
        self.kafka.close(timeout=1)


def consumer(o, topic, instance="", **more):
    c = common(o)
    if o.max_bytes:
        more.update(fetch_max_bytes=o.max_bytes, max_partition_fetch_bytes=o.max_bytes,
                    receive_message_max_bytes=2 * o.max_bytes)
    if instance:
        more["group_instance_id"] = instance
    found = connect(
        KafkaConsumer, **c, group_id=o.group, auto_offset_reset="earliest", client_rack=o.rack,
        isolation_level="read_" + o.isolation, **more)
    found.subscribe([topic])
    return found


def describe_partitions(admin, topic, want):
    (found,) = admin.describe_topics([topic])
    return contract.expect(len(found["partitions"]), want, "partitions")


class KafkaPython(contract.Client):
    name = "kafka-python"

    def version(self):
        return kafka.__version__

    def check(self, o):
        if o.work == "consume" and o.protocol != "classic":
            raise contract.NotOffered("kafka-python knows the classic group protocol only")

    def producer(self, o):
        return Producer(o)

    def consume(self, o, instance, each, stop):
        c = consumer(o, o.topic, instance, auto_commit_interval_ms=1000)
        try:
            while not stop.is_set():
                for records in c.poll(timeout_ms=200).values():
                    for record in records:
                        each(record.value)
        finally:
            c.close()  # commits, and leaves

    def addresses(self, o):
        admin = connect(KafkaAdminClient, **common(o))
        return [f"{b['host']}:{b['port']}" for b in admin.describe_cluster()["brokers"]]

    def transaction(self, o, r):
        o.acks = "all"
        p = Producer(o, transactional_id=o.transactional_id, enable_idempotence=True)
        p.kafka.init_transactions()
        if o.source:
            return self.transform(o, r, p)

        def run(records, commit):
            p.kafka.begin_transaction()
            for future in [p.kafka.send(o.topic, key=key, value=value) for key, value in records]:
                future.get(timeout=max(1, o.left()))
            p.kafka.commit_transaction() if commit else p.kafka.abort_transaction()

        contract.transactions(o, r, run)
        p.close(o.left())

    def transform(self, o, r, p):
        o.isolation = "committed"
        c = consumer(o, o.source, enable_auto_commit=False)

        def one(limit, commit):
            batch = c.poll(timeout_ms=500, max_records=limit)
            ours = [rec for records in batch.values() for rec in records
                    if contract.number(o.prefix, rec.value) is not None]
            if not ours:
                return 0, False
            p.kafka.begin_transaction()
            for rec in ours:
                p.kafka.send(o.topic, key=rec.key, value=rec.value)
            p.kafka.flush(timeout=max(1, o.left()))
            if commit:
                p.kafka.send_offsets_to_transaction(
                    {tp: OffsetAndMetadata(records[-1].offset + 1, "", -1) for tp, records in batch.items()},
                    c.group_metadata())
                p.kafka.commit_transaction()
            else:
                p.kafka.abort_transaction()
                for tp, records in batch.items():
                    c.seek(tp, records[0].offset)
            return len(ours), commit

        contract.transform(o, r, one)
        c.close(autocommit=False)
        p.close(o.left())

    def admin(self, o, r):
        admin, s = connect(KafkaAdminClient, **common(o)), contract.Steps(o, r)
        topic = {o.topic: {"num_partitions": 3, "replication_factor": o.replication}}
        retention = [ConfigResource(ConfigResourceType.TOPIC, o.topic, {"retention.ms": "7200000"})]
        s.do("create_topic", lambda: admin.create_topics(topic) and None)
        s.look("describe_topic", lambda: describe_partitions(admin, o.topic, 3))

        def describe_cluster():
            c = admin.describe_cluster()
            return f"{len(c['brokers'])} brokers, controller {c['controller_id']}"

        def describe_configs():
            found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, o.topic)])
            value = found["topic"][o.topic]["retention.ms"]
            contract.expect(str(value["value"]), "7200000", "retention.ms")

        def list_topics():
            topics = admin.list_topics()
            if o.topic not in topics:
                raise RuntimeError("the topic is not among them")
            return len(topics)

        s.look("describe_cluster", describe_cluster)
        s.do("alter_config", lambda: admin.alter_configs(retention) and None)
        s.look("describe_configs", describe_configs)
        s.do("add_partitions", lambda: admin.create_partitions({o.topic: 5}) and None)
        s.look("added_partitions", lambda: describe_partitions(admin, o.topic, 5))
        s.look("list_topics", list_topics)
        groups = []
        s.look("list_groups", lambda: groups.extend(g["group_id"] for g in admin.list_groups()) or len(groups))
        group = o.group or min(groups, default="")
        if group:
            s.look("describe_group", lambda: admin.describe_groups([group])[group]["group_state"])
        else:
            r.detail("describe_group", "ok: there is no group")
        s.look("metadata_quorum", lambda: quorum(admin))
        s.do("delete_topic", lambda: admin.delete_topics([o.topic]) and None)
        s.check()


def quorum(admin):
    try:
        found = admin.describe_metadata_quorum()
    except kafka.errors.UnsupportedVersionError as e:
        raise contract.NotOffered(f"the broker has no quorum: {e}") from e
    partition = found["topics"][0]["partitions"][0]
    return f"voters {sorted(v['replica_id'] for v in partition['current_voters'])}"


logging.basicConfig(level=logging.WARNING)
if __name__ == "__main__":
    contract.main(KafkaPython())

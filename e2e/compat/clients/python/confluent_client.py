"""Drives confluent-kafka, which is librdkafka."""

import threading
import time

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import admin as adm

import contract

HEADROOM = 64 << 10  # the size of a record's batch and request without its value

# Errors that reading again cannot mend. After others librdkafka tries again by itself.
FATAL = {
    KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._FATAL,
    KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION, KafkaError.INVALID_GROUP_ID,
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
}


class Errors:
    """Keeps the refused login: librdkafka reports it here and nowhere else. It keeps
    errors about authorization too."""

    def __init__(self):
        self.login = None
        self.said = []

    def __call__(self, error):
        if "uthoriz" in error.str():
            self.said.append(error.str())
        if error.code() in FATAL:
            self.login = error

    def check(self):
        if self.login is not None:
            raise RuntimeError(self.login.str())


def common(o, errors):
    c = {"bootstrap.servers": o.bootstrap, "client.id": "confluent", "error_cb": errors, "security.protocol": o.security,
         "reconnect.backoff.max.ms": 1000}
    if o.broker_version:
        c["broker.version.fallback"] = o.broker_version
    if o.sasl:
        c["sasl.mechanism"] = o.mechanism
        if o.mechanism == "OAUTHBEARER":
            c["oauth_cb"] = lambda _: contract.unsecured_jwt(o.username)
        else:
            c.update({"sasl.username": o.username, "sasl.password": o.password})
    return c


def ping(handle, o, errors):
    """Asks for the brokers, so that a refused login is an error and not a record
    that is never sent."""
    while True:
        handle.poll(0.01)
        errors.check()
        try:
            return handle.list_topics(topic=o.topic or None, timeout=min(2, max(0.1, o.left())))
        except KafkaException:
            handle.poll(0.1)
            errors.check()
            if o.left() <= 0:
                raise


class Producer:
    def __init__(self, o, **more):
        errors = Errors()
        size = max(1000000, o.size + HEADROOM)
        self.o = o
        self.said = errors.said
        self.raised = []
        self.kafka = ck.Producer({
            **common(o, errors), "acks": o.acks, "compression.type": o.compression, "enable.idempotence": o.idempotent,
            "message.max.bytes": size, "batch.size": size, "queue.buffering.max.kbytes": 1 << 20, "linger.ms": 5,
            "message.timeout.ms": 1000 * max(5, int(o.left())), **more})
        ping(self.kafka, o, errors)
        self.closed = threading.Event()
        self.server = threading.Thread(target=self.serve, daemon=True)
        self.server.start()

    def serve(self):
        """Calls the callbacks, until the producer is closed."""
        while not self.closed.is_set():
            self.keeping(self.kafka.poll, 0.1)

    def keeping(self, call, seconds):
        """Calls poll or flush, and keeps a fatal error: it is raised in the one of
        them that waits for callbacks, and error_cb does not get it. flush makes a
        SystemError of it."""
        try:
            call(seconds)
            return True
        except (KafkaException, SystemError) as e:
            self.raised.append(str(e.__cause__ or e))
            return False

    def flush(self, seconds):
        """Waits until each record is acknowledged or refused."""
        end = time.monotonic() + max(1, seconds)
        while not self.keeping(self.kafka.flush, max(0.1, end - time.monotonic())):
            if time.monotonic() > end:
                return

    def send(self, key, value, done):
        while True:
            try:
                return self.kafka.produce(
                    self.o.topic, key=key, value=value,
                    on_delivery=lambda error, _: done(error and KafkaException(error)))
            except BufferError:
                time.sleep(0.05)

    def close(self, seconds):
        self.flush(seconds)
        self.closed.set()
        self.server.join(1)


def consumer_config(o, errors, instance=""):
    c = {**common(o, errors), "group.id": o.group}
    if o.max_bytes:
        c.update({"fetch.max.bytes": o.max_bytes, "max.partition.fetch.bytes": o.max_bytes,
                  "receive.message.max.bytes": 2 * o.max_bytes})
    if o.rack:
        c["client.rack"] = o.rack
    if instance:
        c["group.instance.id"] = instance
    if o.protocol == "consumer":
        c["group.protocol"] = "consumer"
    if o.protocol != "share":
        c.update({"auto.offset.reset": "earliest", "isolation.level": "read_" + o.isolation,
                  "auto.commit.interval.ms": 500})
    return c


def readable(message):
    error = message.error()
    if error is None:
        return True
    if error.code() in FATAL or error.fatal():
        raise KafkaException(error)
    return False


def share_from_the_start(o, errors):
    """Has a new share group begin where other groups do; the broker would begin
    at the end."""
    admin = adm.AdminClient(common(o, errors))
    ping(admin, o, errors)
    entry = adm.ConfigEntry("share.auto.offset.reset", "earliest",
                            incremental_operation=adm.AlterConfigOpType.SET)
    group = adm.ConfigResource(adm.ResourceType.GROUP, o.group, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([group], request_timeout=max(1, o.left())).values():
        future.result()


class Confluent(contract.Client):
    name = "confluent"

    def version(self):
        version = ck.version()
        return f"{version if isinstance(version, str) else version[0]} (librdkafka {ck.libversion()[0]})"

    def check(self, o):
        if o.handshake_v0:  # it asks for ApiVersions even with api.version.request=false
            raise contract.NotOffered("librdkafka takes the newest SaslHandshake that the broker has")

    def producer(self, o):
        return Producer(o)

    def consume(self, o, instance, each, stop):
        errors = Errors()
        if o.protocol == "share":
            return self.share(o, each, stop, errors)
        consumer = ck.Consumer(consumer_config(o, errors, instance))
        ping(consumer, o, errors)
        consumer.subscribe([o.topic])
        try:
            while not stop.is_set():
                message = consumer.poll(0.2)
                errors.check()
                if message is not None and readable(message):
                    each(message.value())
        finally:
            consumer.close()  # commits, and leaves

    def share(self, o, each, stop, errors):
        share_from_the_start(o, errors)
        consumer = ck.ShareConsumer(consumer_config(o, errors))
        consumer.subscribe([o.topic])
        try:
            while not stop.is_set():
                for message in consumer.poll(0.2):
                    if readable(message):
                        each(message.value())
                errors.check()
                consumer.commit_sync(max(1.0, o.left()))  # acknowledges them all
        finally:
            consumer.close()

    def addresses(self, o):
        errors = Errors()
        admin = adm.AdminClient(common(o, errors))
        return [f"{b.host}:{b.port}" for b in ping(admin, o, errors).brokers.values()]

    def transaction(self, o, r):
        o.acks = "all"
        p = Producer(o, **{"transactional.id": o.transactional_id, "enable.idempotence": True,
                           "message.timeout.ms": 1000 * max(5, min(55, int(o.left())))})
        p.kafka.init_transactions(max(1, o.left()))
        if o.source:
            return self.transform(o, r, p)

        def run(records, commit):
            p.kafka.begin_transaction()
            self.store(o, p, records)
            end(o, p, commit)

        contract.transactions(o, r, run)
        p.close(o.left())

    def store(self, o, p, records):
        failed = []
        for key, value in records:
            p.send(key, value, lambda error: error and failed.append(error))
        p.flush(o.left())
        if failed:
            raise failed[0]

    def transform(self, o, r, p):
        o.isolation = "committed"
        errors = Errors()
        consumer = ck.Consumer({**consumer_config(o, errors), "enable.auto.commit": False})
        consumer.subscribe([o.source])

        def one(limit, commit):
            batch = [m for m in consumer.consume(limit, 0.5) if readable(m)]
            errors.check()
            ours = [(m.key(), m.value()) for m in batch if contract.number(o.prefix, m.value()) is not None]
            if not ours:
                return 0, False
            first, after = {}, {}
            for m in batch:
                first.setdefault(m.partition(), m.offset())
                after[m.partition()] = m.offset() + 1
            p.kafka.begin_transaction()
            self.store(o, p, ours)
            if commit:
                p.kafka.send_offsets_to_transaction(
                    [TopicPartition(o.source, n, offset) for n, offset in after.items()],
                    consumer.consumer_group_metadata(), max(1, o.left()))
            end(o, p, commit)
            if not commit:
                for n, offset in first.items():
                    consumer.seek(TopicPartition(o.source, n, offset))
            return len(ours), commit

        contract.transform(o, r, one)
        consumer.close()
        p.close(o.left())

    def admin(self, o, r):
        errors = Errors()
        admin, s = adm.AdminClient(common(o, errors)), contract.Steps(o, r)
        topic, o.topic = o.topic, ""  # which is not there yet
        ping(admin, o, errors)
        o.topic = topic
        resource = adm.ConfigResource(adm.ResourceType.TOPIC, topic)
        within = {"request_timeout": 30}

        def done(futures):
            return [future.result(max(1, o.left())) for future in futures.values()][0]

        def describe_topic(want):
            found = done(admin.describe_topics(ck.TopicCollection([topic]), **within))
            return contract.expect(len(found.partitions), want, "partitions")

        def describe_cluster():
            found = admin.describe_cluster(**within).result(max(1, o.left()))
            return f"{len(found.nodes)} brokers, controller {found.controller.id}"

        def alter_config():
            entry = adm.ConfigEntry("retention.ms", "7200000", incremental_operation=adm.AlterConfigOpType.SET)
            done(admin.incremental_alter_configs(
                [adm.ConfigResource(adm.ResourceType.TOPIC, topic, incremental_configs=[entry])], **within))

        def describe_configs():
            found = done(admin.describe_configs([resource], **within))
            contract.expect(found["retention.ms"].value, "7200000", "retention.ms")

        def list_topics():
            topics = admin.list_topics(timeout=10).topics
            if topic not in topics:
                raise RuntimeError("the topic is not among them")
            return len(topics)

        s.do("create_topic", lambda: done(admin.create_topics([adm.NewTopic(topic, 3, o.replication)], **within)))
        s.look("describe_topic", lambda: describe_topic(3))
        s.look("describe_cluster", describe_cluster)
        s.do("alter_config", alter_config)
        s.look("describe_configs", describe_configs)
        s.do("add_partitions", lambda: done(admin.create_partitions([adm.NewPartitions(topic, 5)], **within)))
        s.look("added_partitions", lambda: describe_topic(5))
        s.look("list_topics", list_topics)
        groups = []

        def list_groups():
            found = admin.list_consumer_groups(**within).result(max(1, o.left()))
            groups.extend(g.group_id for g in found.valid)
            return len(groups)

        s.look("list_groups", list_groups)
        group = o.group or min(groups, default="")
        if group:
            s.look("describe_group", lambda: done(admin.describe_consumer_groups([group], **within)).state.name)
        else:
            r.detail("describe_group", "ok: there is no group")
        s.not_offered("metadata_quorum", "no DescribeQuorum")
        s.do("delete_topic", lambda: done(admin.delete_topics([topic], **within)))
        s.check()


def end(o, p, commit):
    p.kafka.commit_transaction(max(1, o.left())) if commit else p.kafka.abort_transaction(max(1, o.left()))


if __name__ == "__main__":
    contract.main(Confluent())

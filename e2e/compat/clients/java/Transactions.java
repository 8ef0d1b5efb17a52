import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Transactions of ten records, of which every third is aborted. */
final class Transactions {
    private static final int PER_TRANSACTION = 10;
    private static final int ABORT_EVERY = 3;

    private final Options o;
    private final Result r;
    private final KafkaProducer<byte[], byte[]> producer;
    private int committed;
    private int aborted;

    private Transactions(Options o, Result r) {
        this.o = o;
        this.r = r;
        o.set("acks", "all");
        o.set("idempotent", "true");
        java.util.Properties p = Config.producer(o);
        p.put("transactional.id", o.get("transactional-id"));
        producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void run(Options o, Result r) throws Exception {
        Transactions t = new Transactions(o, r);
        try {
            t.producer.initTransactions();
            if (o.get("from").isEmpty()) {
                t.send();
            } else {
                t.transform();
            }
        } finally {
            t.producer.close(Duration.ofMillis(Math.min(o.left(), 4000)));
        }
    }

    private void send() throws Exception {
        int count = o.number("count");
        for (int n = 0; n < count; ) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (; records.size() < PER_TRANSACTION && n < count; n++) {
                byte[] value = Result.value(o.get("prefix"), n, o.number("size"));
                records.add(new ProducerRecord<>(o.get("topic"), Result.key(n), value));
            }
            boolean commit = nextCommits();
            producer.beginTransaction();
            store(records);
            end(commit, records.size());
        }
    }

    private boolean nextCommits() {
        return (committed + aborted + 1) % ABORT_EVERY != 0;
    }

    /** Waits for each record: an aborted transaction would refuse records that have not been sent yet. */
    private void store(List<ProducerRecord<byte[], byte[]>> records) throws Exception {
        List<Future<?>> futures = new ArrayList<>();
        for (ProducerRecord<byte[], byte[]> record : records) {
            futures.add(producer.send(record));
        }
        producer.flush();
        for (Future<?> future : futures) {
            future.get(o.left(), TimeUnit.MILLISECONDS);
        }
    }

    private void end(boolean commit, int records) {
        r.sent(records);
        if (commit) {
            producer.commitTransaction();
            committed++;
            r.acked(records);
        } else {
            producer.abortTransaction();
            aborted++;
        }
        r.detail("committed", committed);
        r.detail("aborted", aborted);
    }

    /** Copies from one topic to another, offsets in the transaction. */
    private void transform() throws Exception {
        o.set("isolation", "committed");
        java.util.Properties p = Config.consumer(o, o.get("static-member"));
        p.put("max.poll.records", "" + PER_TRANSACTION);
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(Collections.singletonList(o.get("from")));
            while (r.acked() < o.number("count")) {
                if (o.over()) {
                    throw new Exception(r.acked() + " of " + o.number("count") + " records copied in time");
                }
                copy(consumer, consumer.poll(Group.POLL));
            }
        }
    }

    private void copy(KafkaConsumer<byte[], byte[]> consumer, ConsumerRecords<byte[], byte[]> batch)
            throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        Map<TopicPartition, Long> first = new HashMap<>();
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> in : batch) {
            TopicPartition partition = new TopicPartition(in.topic(), in.partition());
            first.putIfAbsent(partition, in.offset());
            next.put(partition, new OffsetAndMetadata(in.offset() + 1));
            if (Result.number(o.get("prefix"), in.value()) >= 0) {
                records.add(new ProducerRecord<>(o.get("topic"), in.key(), in.value()));
            }
        }
        if (records.isEmpty()) {
            return;
        }
        boolean commit = nextCommits();
        producer.beginTransaction();
        store(records);
        if (commit) {
            Optional.sendOffsets(producer, consumer, o.get("group"), next);
        }
        end(commit, records.size());
        if (!commit) {
            first.forEach(consumer::seek);
        }
    }
}

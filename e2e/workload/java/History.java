import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Producers and a member of a group that print their history as package history reads it, one
 * event a line. The end of standard input ends the producers; the program ends when the member
 * has read all records until then.
 *
 * Arguments: BOOTSTRAP TOPIC PARTITIONS RATE ORIGIN KEY=VALUE... ORIGIN is the history's beginning by
 * System.nanoTime. The group is TOPIC-java. The last arguments are properties of all clients.
 */
public final class History {
    private static final String IDEMPOTENT = "java-idempotent";
    private static final String TRANSACTIONAL = "java-transactional";
    private static final String MEMBER = "java-member";
    private static final int PER_TRANSACTION = 10;
    private static final int COMMIT_EACH = 3;
    private static final Duration LAST_READ = Duration.ofSeconds(60);

    private static String bootstrap;
    private static String topic;
    private static int partitions;
    private static int rate;
    private static long origin;
    private static final Properties common = new Properties();
    private static volatile boolean stop;
    private static PrintStream out;

    private History() {}

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        topic = args[1];
        partitions = Integer.parseInt(args[2]);
        rate = Integer.parseInt(args[3]);
        origin = Long.parseLong(args[4]);
        for (int i = 5; i < args.length; i++) {
            String[] property = args[i].split("=", 2);
            common.put(property[0], property[1]);
        }
        out = new PrintStream(System.out, true, "UTF-8");
        Thread idempotent = new Thread(() -> new Producer(IDEMPOTENT, 1L << 40).steadily());
        Thread transactional = new Thread(() -> new Producer(TRANSACTIONAL, 1L << 41).transactions());
        Thread input = new Thread(History::awaitEnd);
        input.setDaemon(true);
        emit(IDEMPOTENT, "join", "\"guarantee\":\"idempotent\"");
        emit(TRANSACTIONAL, "join", "\"guarantee\":\"transactional\"");
        emit(MEMBER, "join", "\"group\":\"" + topic + "-java\",\"committed\":true");
        input.start();
        idempotent.start();
        transactional.start();
        new Member().run(() -> idempotent.isAlive() || transactional.isAlive());
    }

    private static void awaitEnd() {
        try {
            while (System.in.read() >= 0) {
                // nothing is said
            }
        } catch (java.io.IOException e) {
            System.err.println(e);
        }
        stop = true;
    }

    private static synchronized void emit(String client, String type, String fields) {
        out.println("{\"at\":" + (System.nanoTime() - origin) + ",\"client\":\"" + client + "\",\"type\":\"" + type + "\""
            + (fields.isEmpty() ? "" : "," + fields) + "}");
    }

    /** An outcome's fields. No exception is a certain failure: the client may have sent again. */
    private static String outcome(Throwable error) {
        return error == null ? "\"outcome\":\"ok\"" : "\"outcome\":\"unknown\",\"error\":\"" + error.getClass().getSimpleName() + "\"";
    }

    private static long sum(byte[] bytes, int from) {
        CRC32C crc = new CRC32C();
        crc.update(bytes, from, bytes.length - from);
        return crc.getValue();
    }

    private static byte[] value(long number) {
        byte[] rest = (" " + number + " " + (number + ".").repeat(6)).getBytes(StandardCharsets.US_ASCII);
        return (String.format("%08x", sum(rest, 0)) + new String(rest, StandardCharsets.US_ASCII)).getBytes(StandardCharsets.US_ASCII);
    }

    private static long number(byte[] value) {
        String text = new String(value, StandardCharsets.US_ASCII);
        try {
            if (value.length < 10 || value[8] != ' ' || Long.parseLong(text.substring(0, 8), 16) != sum(value, 8)) {
                return -1;
            }
            return Long.parseLong(text.substring(9, text.indexOf(' ', 9)));
        } catch (RuntimeException e) {
            return -1;
        }
    }

    private static final class Producer {
        private final String name;
        private long number;
        private long transaction;
        private int sent;

        Producer(String name, long first) {
            this.name = name;
            number = first;
        }

        private KafkaProducer<byte[], byte[]> connect() {
            Properties p = new Properties();
            p.putAll(common);
            p.put("bootstrap.servers", bootstrap);
            p.put("client.id", name);
            p.put("acks", "all");
            p.put("enable.idempotence", "true");
            if (name.equals(TRANSACTIONAL)) {
                p.put("transactional.id", topic + "-java");
                p.put("transaction.timeout.ms", "15000");
            }
            return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
        }

        private Future<?> send(KafkaProducer<byte[], byte[]> producer) {
            long n = number++;
            int partition = sent++ % partitions;
            byte[] value = value(n);
            emit(name, "send", "\"number\":" + n + ",\"partition\":" + partition + ",\"sum\":" + sum(value, 0)
                + (transaction > 0 ? ",\"tx\":" + transaction : ""));
            return producer.send(new ProducerRecord<>(topic, partition, null, value), (md, e) ->
                emit(name, "sent", "\"number\":" + n + "," + outcome(e) + (e == null ? ",\"offset\":" + (md.hasOffset() ? md.offset() : -1) : "")));
        }

        void steadily() {
            try (KafkaProducer<byte[], byte[]> producer = connect()) { // close waits for responses
                while (!stop) {
                    send(producer);
                    pause(1);
                }
            } catch (RuntimeException e) {
                System.err.println(name + ": " + e);
            }
        }

        void transactions() {
            while (!stop) {
                try (KafkaProducer<byte[], byte[]> producer = connect()) {
                    producer.initTransactions();
                    while (!stop) {
                        one(producer);
                        pause(PER_TRANSACTION);
                    }
                } catch (Exception e) { // a new producer fences this one
                    System.err.println(name + ": " + e);
                    pause(PER_TRANSACTION);
                }
            }
        }

        private void one(KafkaProducer<byte[], byte[]> producer) throws Exception {
            producer.beginTransaction();
            transaction++;
            emit(name, "begin", "\"tx\":" + transaction);
            List<Future<?>> futures = new ArrayList<>();
            for (int i = 0; i < PER_TRANSACTION; i++) {
                futures.add(send(producer));
            }
            boolean commit = transaction % 3 != 0;
            if (commit) {
                producer.flush();
                for (Future<?> f : futures) {
                    f.get();
                }
            }
            emit(name, "end", "\"tx\":" + transaction + ",\"commit\":" + commit);
            Exception failed = null;
            try {
                if (commit) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            } catch (RuntimeException e) {
                failed = e;
            }
            emit(name, "ended", "\"tx\":" + transaction + "," + outcome(failed));
            if (failed != null) {
                throw failed;
            }
        }

        private void pause(int records) {
            try {
                Thread.sleep(1000L * records / rate);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static final class Member implements ConsumerRebalanceListener {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        private int polls;
        private long op;

        Member() {
            Properties p = new Properties();
            p.putAll(common);
            p.put("bootstrap.servers", bootstrap);
            p.put("client.id", MEMBER);
            p.put("group.id", topic + "-java");
            p.put("group.protocol", "consumer");
            p.put("auto.offset.reset", "earliest");
            p.put("enable.auto.commit", "false");
            p.put("isolation.level", "read_committed");
            consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        void run(java.util.function.BooleanSupplier producing) {
            consumer.subscribe(Collections.singletonList(topic), this);
            while (producing.getAsBoolean()) {
                poll();
            }
            long deadline = System.nanoTime() + LAST_READ.toNanos();
            while (System.nanoTime() < deadline && !atEnd()) {
                poll();
            }
            consumer.close();
        }

        private boolean atEnd() {
            if (consumer.assignment().size() < partitions) {
                return false;
            }
            Map<TopicPartition, Long> ends = consumer.endOffsets(consumer.assignment());
            return ends.entrySet().stream().allMatch(e -> consumer.position(e.getKey()) >= e.getValue());
        }

        private void poll() {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
            for (TopicPartition p : records.partitions()) {
                StringBuilder offsets = new StringBuilder();
                StringBuilder numbers = new StringBuilder();
                StringBuilder sums = new StringBuilder();
                String comma = "";
                for (ConsumerRecord<byte[], byte[]> r : records.records(p)) {
                    offsets.append(comma).append(r.offset());
                    numbers.append(comma).append(number(r.value()));
                    sums.append(comma).append(sum(r.value(), 0));
                    comma = ",";
                    next.put(p, new OffsetAndMetadata(r.offset() + 1));
                }
                emit(MEMBER, "poll", "\"partition\":" + p.partition() + ",\"offsets\":[" + offsets + "],\"numbers\":[" + numbers
                    + "],\"sums\":[" + sums + "]");
            }
            if (!records.isEmpty() && ++polls % COMMIT_EACH == 0) {
                commit();
            }
        }

        private void commit() {
            long first = op + 1;
            next.forEach((p, at) -> emit(MEMBER, "commit", "\"group\":\"" + topic + "-java\",\"partition\":" + p.partition()
                + ",\"offset\":" + at.offset() + ",\"op\":" + ++op));
            RuntimeException failed = null;
            try {
                consumer.commitSync(next, Duration.ofSeconds(5));
            } catch (RuntimeException e) {
                failed = e;
            }
            for (long n = first; n <= op; n++) {
                emit(MEMBER, "committed", "\"op\":" + n + "," + outcome(failed));
            }
            next.clear();
        }

        private void moved(String how, Collection<TopicPartition> moved) {
            if (moved.isEmpty()) {
                return;
            }
            moved.forEach(next::remove);
            StringBuilder list = new StringBuilder();
            for (TopicPartition p : moved) {
                list.append(list.length() == 0 ? "" : ",").append(p.partition());
            }
            emit(MEMBER, how, "\"partitions\":[" + list + "]");
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
            moved("assign", assigned);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
            moved("revoke", revoked);
        }
    }
}

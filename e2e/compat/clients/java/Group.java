import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The members of one group, in one process. */
final class Group {
    private static final long SURPLUS = 1000; // how long to wait for records that should not come
    private static final long JOIN_PAUSE = 500; // a rebalance is to end before churn begins another
    static final Duration POLL = Duration.ofMillis(200);
    static final Duration LEAVING = Duration.ofSeconds(4);

    private final Options o;
    private final Result r;
    private final List<Member> members = new ArrayList<>();
    private volatile Throwable broken;
    private int rejoins;

    Group(Options o, Result r) {
        this.o = o;
        this.r = r;
    }

    void join() throws Exception {
        String name = o.get("static-member");
        members.add(new Member(name.isEmpty() ? "" : name + "-" + members.size()));
    }

    void awaitRecords(int count) throws Exception {
        synchronized (r) {
            while (r.distinct() < count) {
                if (broken instanceof Result.NotOffered) {
                    throw (Result.NotOffered) broken;
                }
                if (broken != null) {
                    throw new Exception("a member", broken);
                }
                if (o.over()) {
                    throw new Exception(r.distinct() + " of " + count + " records read in time");
                }
                r.wait(100);
            }
        }
    }

    private void replace(int i) throws Exception {
        members.get(i).leave();
        members.set(i, new Member(members.get(i).instance));
        rejoins++;
        Thread.sleep(JOIN_PAUSE);
    }

    void leaveAll() throws InterruptedException {
        for (Member member : members) {
            member.leave();
        }
    }

    static void consume(Options o, Result r) throws Exception {
        Group group = new Group(o, r);
        int count = o.number("count");
        int members = Math.max(1, o.number("members"));
        for (int i = 0; i < members; i++) {
            group.join();
        }
        try {
            for (int i = 0; o.is("churn") && i < members; i++) {
                group.awaitRecords(count * (i + 1) / (members + 1));
                group.replace(i);
            }
            group.awaitRecords(count);
            Thread.sleep(SURPLUS);
        } finally {
            r.detail("rejoins", group.rejoins);
            group.leaveAll();
        }
        if (group.broken != null) {
            throw new Exception("a member", group.broken);
        }
    }

    /** Ends when it is asked to leave. */
    private final class Member extends Thread {
        private final String instance;
        private volatile boolean leaving;

        Member(String instance) {
            this.instance = instance;
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            try {
                Consumer<byte[]> each = value -> r.read(o.get("prefix"), value);
                if (o.get("protocol").equals("share")) {
                    Optional.share(o, each, () -> leaving);
                } else {
                    read(each);
                }
            } catch (Throwable e) {
                e.printStackTrace();
                broken = e;
            }
        }

        /** Commits all that was read before it asks for more: no record is read twice because it left. */
        private void read(Consumer<byte[]> each) throws Result.NotOffered {
            KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
                Config.consumer(o, instance), new ByteArrayDeserializer(), new ByteArrayDeserializer());
            try {
                consumer.subscribe(Collections.singletonList(o.get("topic")));
                while (!leaving) {
                    poll(consumer, each);
                }
            } finally {
                consumer.close(LEAVING);
            }
        }

        private void poll(KafkaConsumer<byte[], byte[]> consumer, Consumer<byte[]> each) {
            try {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(POLL);
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    each.accept(record.value());
                }
                if (!records.isEmpty()) {
                    consumer.commitSync(leaving ? LEAVING : Duration.ofMillis(o.left()));
                }
            } catch (RetriableException | CommitFailedException e) {
                System.err.println("poll: " + e); // costs duplicates at most, which are counted
            }
        }

        void leave() throws InterruptedException {
            leaving = true;
            join(o.left() + LEAVING.toMillis());
        }
    }
}

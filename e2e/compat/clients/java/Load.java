import java.time.Duration;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.AuthenticationException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** One producer's records. */
final class Load {
    private final Options o;
    private final Result r;
    private final KafkaProducer<byte[], byte[]> producer;
    private int errored;
    private Throwable first;

    Load(Options o, Result r) {
        this.o = o;
        this.r = r;
        producer = new KafkaProducer<>(Config.producer(o), new ByteArraySerializer(), new ByteArraySerializer());
    }

    private void send(int n) {
        r.sent(1);
        byte[] value = Result.value(o.get("prefix"), n, o.number("size"));
        try {
            producer.send(new ProducerRecord<>(o.get("topic"), Result.key(n), value), (md, e) -> done(e));
        } catch (RuntimeException e) { // the library refuses the record at once
            done(e);
        }
    }

    private synchronized void done(Throwable error) {
        if (error == null) {
            r.acked(1);
            return;
        }
        errored++;
        first = first == null ? error : first;
    }

    private void close() {
        producer.close(Duration.ofMillis(o.left())); // waits for the records that were sent
    }

    private synchronized int errored() {
        return errored;
    }

    /** Every further record would wait for another login to be refused. */
    private synchronized boolean shutOut() {
        return first instanceof AuthenticationException;
    }

    static void produce(Options o, Result r) throws Exception {
        Load load = new Load(o, r);
        Pace pace = new Pace(o.rate());
        for (int n = o.number("first"); n < o.number("first") + o.number("count") && !o.over() && !load.shutOut(); n++) {
            pace.await();
            load.send(n);
        }
        load.close();
        if (load.errored() > 0) {
            r.detail("errored", load.errored());
            throw new Exception(load.errored() + " records were refused", load.first);
        }
        if (r.acked() < o.number("count")) {
            throw new Exception(r.sent() + " of " + o.number("count") + " records sent, "
                + r.acked() + " acknowledged");
        }
    }

    /** Sends for a while. It reports refused records; they are not its own failure. */
    static void tail(Options o, Result r) throws Exception {
        Load load = new Load(o, r);
        load.sendFor(o, 100);
        long flush = System.currentTimeMillis();
        load.close();
        r.detail("flush_ms", System.currentTimeMillis() - flush);
        r.detail("errored", load.errored());
        if (load.first != null) {
            r.detail("first_error", Result.why(load.first));
        }
        int unheard = r.sent() - r.acked() - load.errored();
        if (unheard > 0) {
            throw new Exception(r.sent() + " records sent, of " + unheard + " nothing was heard");
        }
    }

    /** Sends a record every 100 ms and reads them, over logins that the broker wants renewed. */
    static void session(Options o, Result r) throws Exception {
        Load load = new Load(o, r);
        Group group = new Group(o, r);
        group.join();
        load.sendFor(o, 10);
        load.close();
        r.detail("failures", load.errored());
        try {
            group.awaitRecords(r.acked());
        } finally {
            group.leaveAll();
        }
        if (load.errored() > 0) {
            throw new Exception(load.errored() + " records were refused", load.first);
        }
    }

    private void sendFor(Options o, double usual) throws InterruptedException {
        Pace pace = new Pace(o.rate() == 0 ? usual : o.rate());
        long end = System.currentTimeMillis() + o.millis("duration");
        for (int n = 0; System.currentTimeMillis() < end; n++) {
            pace.await();
            send(n);
        }
    }

    /** Spaces calls evenly, and catches up when it is late. */
    private static final class Pace {
        private final double interval;
        private double next = System.currentTimeMillis();

        Pace(double rate) {
            interval = rate == 0 ? 0 : 1000 / rate;
        }

        void await() throws InterruptedException {
            if (interval > 0) {
                Thread.sleep(Math.max(0, Math.round(next - System.currentTimeMillis())));
                next += interval;
            }
        }
    }
}

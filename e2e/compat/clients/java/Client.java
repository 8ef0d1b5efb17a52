import java.io.IOException;
import java.io.InputStream;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;

/**
 * Drives the Apache Kafka client for Java, in any version from 2.2.1 on: the differences
 * between versions are in Optional and ShareMember. The contract that it keeps is stated
 * in ../README.md.
 */
public final class Client {
    private static final long GRACE = 5000; // the time for a work to end after its timeout

    private Client() {}

    /** The library's own version: its class for that has moved between releases, the file has not. */
    private static String version() {
        Properties p = new Properties();
        try (InputStream in = Client.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            p.load(in);
        } catch (IOException e) {
            return "unknown";
        }
        return p.getProperty("version");
    }

    public static void main(String[] args) {
        Result r = new Result(version(), args.length > 0 ? args[0] : "");
        Options o = null;
        try {
            o = new Options(args);
        } catch (IllegalArgumentException e) {
            r.finish(Result.USAGE, e);
        }
        o.start();
        watch(o.limit(), r);
        try {
            run(o, r);
        } catch (Result.NotOffered e) {
            r.finish(Result.NOT_OFFERED, e);
        } catch (Throwable e) {
            e.printStackTrace();
            r.finish(Result.FAILED, e);
        }
        r.finish(Result.DONE, null);
    }

    /** The program must end even if the library hangs. */
    private static void watch(long limit, Result r) {
        new Timer("watchdog", true).schedule(new TimerTask() {
            @Override
            public void run() {
                r.finish(Result.FAILED, new Exception(
                    "still not done " + GRACE + " ms after the timeout of " + limit + " ms"));
            }
        }, limit + GRACE);
    }

    private static void run(Options o, Result r) throws Exception {
        if (o.is("handshake-v0")) {
            throw new Result.NotOffered("the Java client takes the newest SaslHandshake that the broker has");
        }
        switch (o.work) {
            case "version":
                return;
            case "produce":
                Load.produce(o, r);
                break;
            case "consume":
                Group.consume(o, r);
                break;
            case "session":
                Load.session(o, r);
                break;
            case "tail":
                Load.tail(o, r);
                break;
            case "transaction":
                Transactions.run(o, r);
                break;
            case "admin":
                Admin.admin(o, r);
                break;
            case "token":
                Admin.token(o, r);
                break;
            default:
                throw new IllegalArgumentException("unknown work " + o.work);
        }
        try {
            Admin.addresses(o, r);
        } catch (Exception e) {
            r.detail("addresses_error", Result.why(e));
        }
    }
}

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The flags, which are the same for every client. ../README.md states them. */
final class Options {
    final String work;
    private final Map<String, String> values = new HashMap<>();
    private long end;

    private static final Map<String, String> DEFAULTS = new HashMap<>();
    private static final Map<String, List<String>> ALLOWED = new HashMap<>();
    private static final List<String> SWITCHES = Arrays.asList("idempotent", "churn", "handshake-v0");

    static {
        String[] defaults = {
            "bootstrap", "", "broker-version", "", "timeout", "60", "duration", "10", "topic", "", "group", "",
            "from", "", "transactional-id", "", "count", "100", "first", "0", "prefix", "r", "size", "0", "rate", "0",
            "acks", "all", "compression", "none", "isolation", "uncommitted", "rack", "", "members", "1",
            "protocol", "classic", "max-bytes", "0", "static-member", "", "replication", "1",
            "security", "PLAINTEXT", "mechanism", "PLAIN", "username", "", "password", "",
        };
        for (int i = 0; i < defaults.length; i += 2) {
            DEFAULTS.put(defaults[i], defaults[i + 1]);
        }
        ALLOWED.put("acks", Arrays.asList("0", "1", "all"));
        ALLOWED.put("compression", Arrays.asList("none", "gzip", "snappy", "lz4", "zstd"));
        ALLOWED.put("isolation", Arrays.asList("committed", "uncommitted"));
        ALLOWED.put("protocol", Arrays.asList("classic", "consumer", "share"));
        ALLOWED.put("security", Arrays.asList("PLAINTEXT", "SASL_PLAINTEXT"));
        ALLOWED.put("mechanism", Arrays.asList("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"));
    }

    /** @throws IllegalArgumentException that explains the mistake in them */
    Options(String[] args) {
        if (args.length == 0) {
            throw new IllegalArgumentException("no work named");
        }
        work = args[0];
        values.putAll(DEFAULTS);
        for (int i = 1; i < args.length; i++) {
            i += parse(args[i], i + 1 < args.length ? args[i + 1] : null);
        }
        for (Map.Entry<String, List<String>> e : ALLOWED.entrySet()) {
            if (!e.getValue().contains(get(e.getKey()))) {
                throw new IllegalArgumentException(
                    "--" + e.getKey() + " " + get(e.getKey()) + ": want one of " + e.getValue());
            }
        }
        for (String name : needed()) {
            if (get(name).isEmpty()) {
                throw new IllegalArgumentException(work + " needs --" + name);
            }
        }
        if (get("transactional-id").isEmpty()) {
            values.put("transactional-id", get("prefix"));
        }
    }

    /** Returns how many more arguments the flag took. */
    private int parse(String flag, String next) {
        String name = flag.startsWith("--") ? flag.substring(2) : "";
        int equals = name.indexOf('=');
        if (equals > 0) {
            next = name.substring(equals + 1);
            name = name.substring(0, equals);
        }
        if (SWITCHES.contains(name)) {
            values.put(name, equals > 0 ? next : "true");
            return 0;
        }
        if (!DEFAULTS.containsKey(name) || next == null) {
            throw new IllegalArgumentException("unexpected argument " + flag);
        }
        values.put(name, next);
        return equals > 0 ? 0 : 1;
    }

    private List<String> needed() {
        switch (work) {
            case "version":
                return Arrays.asList();
            case "consume":
            case "session":
                return Arrays.asList("bootstrap", "topic", "group");
            case "token":
                return Arrays.asList("bootstrap");
            case "transaction":
                if (!get("from").isEmpty()) {
                    return Arrays.asList("bootstrap", "topic", "group");
                }
                return Arrays.asList("bootstrap", "topic");
            default:
                return Arrays.asList("bootstrap", "topic");
        }
    }

    String get(String name) {
        return values.get(name);
    }

    void set(String name, String value) {
        values.put(name, value);
    }

    boolean is(String name) {
        return "true".equals(values.get(name));
    }

    int number(String name) {
        return Integer.parseInt(get(name));
    }

    long millis(String name) {
        return Math.round(1000 * Double.parseDouble(get(name)));
    }

    double rate() {
        return Double.parseDouble(get("rate"));
    }

    boolean sasl() {
        return get("security").equals("SASL_PLAINTEXT");
    }

    /** How long the whole program may run. */
    long limit() {
        boolean lasting = work.equals("session") || work.equals("tail");
        return millis("timeout") + (lasting ? millis("duration") : 0);
    }

    void start() {
        end = System.currentTimeMillis() + limit();
    }

    /** Returns how many milliseconds are left, at least one. */
    long left() {
        return Math.max(1, end - System.currentTimeMillis());
    }

    boolean over() {
        return System.currentTimeMillis() >= end;
    }
}

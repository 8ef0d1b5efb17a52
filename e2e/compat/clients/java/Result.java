import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;

/** The JSON object. Any thread may call it. */
final class Result {
    static final int DONE = 0;
    static final int FAILED = 1;
    static final int USAGE = 2;
    static final int NOT_OFFERED = 3;

    private final String version;
    private final String work;
    private int sent;
    private int acked;
    private int read;
    private int duplicates;
    private final BitSet seen = new BitSet();
    private final TreeSet<String> addresses = new TreeSet<>();
    private final Map<String, Object> details = new TreeMap<>();

    Result(String version, String work) {
        this.version = version;
        this.work = work;
    }

    synchronized void sent(int n) {
        sent += n;
    }

    synchronized void acked(int n) {
        acked += n;
    }

    synchronized void address(String hostPort) {
        addresses.add(hostPort);
    }

    synchronized void detail(String key, Object value) {
        details.put(key, value);
    }

    synchronized int sent() {
        return sent;
    }

    synchronized int acked() {
        return acked;
    }

    synchronized int distinct() {
        return seen.cardinality();
    }

    /** Counts a record that was read, if it is one of prefix's. */
    synchronized void read(String prefix, byte[] value) {
        int n = number(prefix, value);
        if (n < 0) {
            return;
        }
        read++;
        if (seen.get(n)) {
            duplicates++;
        }
        seen.set(n);
        notifyAll();
    }

    /** Record n, padded to size. */
    static byte[] value(String prefix, int n, int size) {
        byte[] start = String.format(Locale.ROOT, "%s-%08d", prefix, n).getBytes(StandardCharsets.UTF_8);
        byte[] value = new byte[Math.max(size, start.length)];
        java.util.Arrays.fill(value, (byte) '.');
        System.arraycopy(start, 0, value, 0, start.length);
        return value;
    }

    static byte[] key(int n) {
        return String.format(Locale.ROOT, "%08d", n).getBytes(StandardCharsets.UTF_8);
    }

    /** Which of prefix's records this is, or -1. */
    static int number(String prefix, byte[] value) {
        byte[] start = (prefix + "-").getBytes(StandardCharsets.UTF_8);
        if (value == null || value.length < start.length + 8) {
            return -1;
        }
        for (int i = 0; i < start.length; i++) {
            if (value[i] != start[i]) {
                return -1;
            }
        }
        try {
            return Integer.parseInt(new String(value, start.length, 8, StandardCharsets.UTF_8));
        } catch (NumberFormatException e) {
            return -1;
        }
    }

    /** Prints the object and ends the program, whatever threads there are. */
    synchronized void finish(int code, Throwable error) {
        StringBuilder out = new StringBuilder();
        out.append("{\"client\":\"java\",\"version\":").append(quote(version));
        out.append(",\"work\":").append(quote(work));
        out.append(",\"sent\":").append(sent).append(",\"acked\":").append(acked);
        out.append(",\"read\":").append(read).append(",\"distinct\":").append(seen.cardinality());
        out.append(",\"duplicates\":").append(duplicates).append(",\"addresses\":[");
        String comma = "";
        for (String address : addresses) {
            out.append(comma).append(quote(address));
            comma = ",";
        }
        out.append(']');
        if (error != null) {
            out.append(code == NOT_OFFERED ? ",\"not_offered\":" : ",\"error\":").append(quote(why(error)));
        }
        out.append(",\"details\":{");
        comma = "";
        for (Map.Entry<String, Object> e : details.entrySet()) {
            Object v = e.getValue();
            out.append(comma).append(quote(e.getKey())).append(':').append(v instanceof Number ? v : quote("" + v));
            comma = ",";
        }
        System.out.println(out.append("}}"));
        System.out.flush();
        Runtime.getRuntime().halt(code);
    }

    /** The messages of an error and its causes, once each. */
    static String why(Throwable error) {
        StringBuilder out = new StringBuilder();
        for (Throwable t = error; t != null; t = t.getCause()) {
            boolean wrapper = t instanceof ExecutionException
                || t instanceof java.lang.reflect.InvocationTargetException;
            String message = t.getMessage() == null ? t.getClass().getSimpleName() : t.getMessage();
            if (!wrapper && out.indexOf(message) < 0) {
                out.append(out.length() == 0 ? "" : ": ").append(message);
            }
        }
        return out.toString();
    }

    private static String quote(String s) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    /** A work or an option that the library does not have. */
    static final class NotOffered extends Exception {
        NotOffered(String why) {
            super(why);
        }
    }
}

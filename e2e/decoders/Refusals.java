import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.TreeSet;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.requests.AbstractResponse;

/** Decodes lines of "KEY VERSION HEX" as the Java client does, and says which errors each response has. */
public class Refusals {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        PrintStream out = new PrintStream(System.out, false);
        for (String line; (line = in.readLine()) != null; ) {
            String[] word = line.split(" ");
            String says;
            try {
                says = decode(Short.parseShort(word[0]), Short.parseShort(word[1]), ByteBuffer.wrap(HexFormat.of().parseHex(word[2])));
            } catch (RuntimeException e) {
                says = "error: " + e;
            }
            out.println(says);
        }
        out.flush();
    }

    private static String decode(short key, short version, ByteBuffer bytes) {
        if (!ApiKeys.hasId(key) || !ApiKeys.forId(key).isVersionSupported(version)) {
            return "not offered";
        }
        AbstractResponse response = AbstractResponse.parseResponse(ApiKeys.forId(key), new ByteBufferAccessor(bytes), version);
        if (bytes.hasRemaining()) {
            return "error: " + bytes.remaining() + " bytes left";
        }
        TreeSet<String> errors = new TreeSet<>();
        try { // errorCounts leaves out the error for the whole where it counts those of items
            short code = (short) response.data().getClass().getMethod("errorCode").invoke(response.data());
            if (code != 0) {
                errors.add(Errors.forCode(code).name());
            }
        } catch (ReflectiveOperationException e) {
            // it has errors of items only
        }
        for (Errors error : response.errorCounts().keySet()) {
            if (error != Errors.NONE) {
                errors.add(error.name());
            }
        }
        return String.join(" ", errors);
    }
}

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.StringJoiner;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.message.ShareAcknowledgeResponseData;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.protocol.ByteBufferAccessor;

/** Decodes lines of "API VERSION HEX" as the Java client does, and says which brokers each names. */
public class Decode {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        PrintStream out = new PrintStream(System.out, false);
        for (String line; (line = in.readLine()) != null; ) {
            String[] word = line.split(" ");
            String says;
            try {
                says = decode(word[0], Short.parseShort(word[1]), ByteBuffer.wrap(HexFormat.of().parseHex(word[2])));
            } catch (RuntimeException e) {
                says = "error: " + e;
            }
            out.println(says);
        }
        out.flush();
    }

    private static String decode(String api, short version, ByteBuffer bytes) {
        ByteBufferAccessor body = new ByteBufferAccessor(bytes);
        StringJoiner brokers = new StringJoiner(" ");
        switch (api) {
            case "Produce" -> new ProduceResponseData(body, version).nodeEndpoints()
                .forEach(n -> brokers.add(n.nodeId() + "@" + n.host() + ":" + n.port()));
            case "Fetch" -> new FetchResponseData(body, version).nodeEndpoints()
                .forEach(n -> brokers.add(n.nodeId() + "@" + n.host() + ":" + n.port()));
            case "ShareFetch" -> new ShareFetchResponseData(body, version).nodeEndpoints()
                .forEach(n -> brokers.add(n.nodeId() + "@" + n.host() + ":" + n.port()));
            case "ShareAcknowledge" -> new ShareAcknowledgeResponseData(body, version).nodeEndpoints()
                .forEach(n -> brokers.add(n.nodeId() + "@" + n.host() + ":" + n.port()));
            default -> throw new IllegalArgumentException(api);
        }
        if (bytes.hasRemaining()) {
            return "error: " + bytes.remaining() + " bytes left";
        }
        return brokers.toString();
    }
}

import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;

/** The flags in the library's own configuration. */
final class Config {
    private static final int HEADROOM = 64 << 10; // the size of a record's batch and request without its value

    private Config() {}

    static Properties common(Options o) {
        Properties p = new Properties();
        p.put("bootstrap.servers", o.get("bootstrap"));
        p.put("client.id", "java");
        p.put("security.protocol", o.get("security"));
        if (o.sasl()) {
            p.put("sasl.mechanism", o.get("mechanism"));
            p.put("sasl.jaas.config", jaas(o));
        }
        return p;
    }

    private static String jaas(Options o) {
        String login = "username=\"" + o.get("username") + "\" password=\"" + o.get("password") + "\";";
        String security = "org.apache.kafka.common.security.";
        switch (o.get("mechanism")) {
            case "PLAIN":
                return security + "plain.PlainLoginModule required " + login;
            case "OAUTHBEARER": // the library makes the unsecured token itself
                return security + "oauthbearer.OAuthBearerLoginModule required "
                    + "unsecuredLoginStringClaim_sub=\"" + o.get("username") + "\";";
            default:
                return security + "scram.ScramLoginModule required " + login;
        }
    }

    static Properties producer(Options o) {
        Properties p = common(o);
        int size = Math.max(1 << 20, o.number("size") + HEADROOM);
        p.put("acks", o.get("acks"));
        p.put("compression.type", o.get("compression"));
        p.put("enable.idempotence", "" + o.is("idempotent"));
        p.put("max.request.size", "" + size);
        p.put("buffer.memory", "" + Math.max(32 << 20, 2 * size));
        p.put("max.block.ms", "" + o.left());
        p.put("delivery.timeout.ms", "" + Math.max(31000, o.left()));
        return p;
    }

    static Properties consumer(Options o, String instance) throws Result.NotOffered {
        Properties p = common(o);
        p.put("group.id", o.get("group"));
        if (!o.get("protocol").equals("share")) {
            p.put("auto.offset.reset", "earliest");
            p.put("enable.auto.commit", "false");
            p.put("isolation.level", "read_" + o.get("isolation"));
        }
        if (!o.get("max-bytes").equals("0")) {
            p.put("fetch.max.bytes", o.get("max-bytes"));
            p.put("max.partition.fetch.bytes", o.get("max-bytes"));
        }
        if (o.get("protocol").equals("consumer")) {
            offered(p, "group.protocol", "consumer");
        }
        if (!instance.isEmpty()) {
            offered(p, "group.instance.id", instance);
        }
        if (!o.get("rack").isEmpty()) {
            offered(p, "client.rack", o.get("rack"));
        }
        return p;
    }

    private static void offered(Properties p, String name, String value) throws Result.NotOffered {
        if (!ConsumerConfig.configNames().contains(name)) {
            throw new Result.NotOffered("this version has no " + name);
        }
        p.put(name, value);
    }
}

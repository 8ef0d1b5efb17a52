import java.time.Duration;
import java.util.Collections;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a share group (KIP-932), for versions that have them: see build.sh. */
final class ShareMember {
    private ShareMember() {}

    static void read(Options o, Consumer<byte[]> each, BooleanSupplier leaving) throws Exception {
        fromTheStart(o);
        KafkaShareConsumer<byte[], byte[]> consumer = new KafkaShareConsumer<>(
            Config.consumer(o, ""), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        try {
            consumer.subscribe(Collections.singletonList(o.get("topic")));
            while (!leaving.getAsBoolean()) {
                poll(o, consumer, each);
            }
        } finally {
            consumer.close(Group.LEAVING);
        }
    }

    private static void poll(Options o, KafkaShareConsumer<byte[], byte[]> consumer, Consumer<byte[]> each) {
        try {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Group.POLL)) {
                each.accept(record.value());
            }
            consumer.commitSync(Duration.ofMillis(o.left())); // acknowledges them all
        } catch (RetriableException e) {
            System.err.println("poll: " + e);
        }
    }

    /** Has a new share group begin where other groups do; the broker would begin at the end. */
    private static void fromTheStart(Options o) throws Exception {
        try (AdminClient admin = AdminClient.create(Config.common(o))) {
            ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, o.get("group"));
            Optional.alterConfig(admin, group, "share.auto.offset.reset", "earliest")
                .get(o.left(), TimeUnit.MILLISECONDS);
        }
    }
}

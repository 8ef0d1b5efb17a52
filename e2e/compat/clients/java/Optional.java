import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The parts of the library that some versions lack or name differently. */
final class Optional {
    private Optional() {}

    /** A member of a share group: ShareMember is compiled where the library has a KafkaShareConsumer. */
    static void share(Options o, Consumer<byte[]> each, BooleanSupplier leaving) throws Throwable {
        Class<?> member;
        try {
            member = Class.forName("ShareMember");
        } catch (ClassNotFoundException e) {
            throw new Result.NotOffered("this version has no share consumer");
        }
        call(member.getDeclaredMethod("read", Options.class, Consumer.class, BooleanSupplier.class),
            null, o, each, leaving);
    }

    /** With the group's metadata since 2.5 (KIP-447), with its name alone until 4.0. */
    static void sendOffsets(KafkaProducer<?, ?> producer, KafkaConsumer<?, ?> consumer, String group,
            Map<TopicPartition, OffsetAndMetadata> offsets) throws Exception {
        try {
            Object metadata = call(consumer.getClass().getMethod("groupMetadata"), consumer);
            Method send = producer.getClass().getMethod("sendOffsetsToTransaction", Map.class,
                Class.forName("org.apache.kafka.clients.consumer.ConsumerGroupMetadata"));
            call(send, producer, offsets, metadata);
        } catch (ReflectiveOperationException e) {
            call(producer.getClass().getMethod("sendOffsetsToTransaction", Map.class, String.class),
                producer, offsets, group);
        }
    }

    /** allTopicNames since 3.1, all until 4.0. */
    @SuppressWarnings("unchecked")
    static KafkaFuture<Map<String, TopicDescription>> describeTopics(AdminClient admin, String topic)
            throws Exception {
        Object result = admin.describeTopics(Collections.singletonList(topic));
        Method all;
        try {
            all = result.getClass().getMethod("allTopicNames");
        } catch (NoSuchMethodException e) {
            all = result.getClass().getMethod("all");
        }
        return (KafkaFuture<Map<String, TopicDescription>>) call(all, result);
    }

    /** incrementalAlterConfigs since 2.3, alterConfigs until 4.0. */
    static KafkaFuture<?> alterConfig(AdminClient admin, ConfigResource resource, String name, String value)
            throws Exception {
        String in = "org.apache.kafka.clients.admin.";
        Object entry = Class.forName(in + "ConfigEntry").getConstructor(String.class, String.class)
            .newInstance(name, value);
        String method;
        Object change;
        try {
            Class<?> op = Class.forName(in + "AlterConfigOp");
            Class<?> type = Class.forName(in + "AlterConfigOp$OpType");
            Constructor<?> make = op.getConstructor(entry.getClass(), type);
            change = Collections.singleton(make.newInstance(entry, type.getField("SET").get(null)));
            method = "incrementalAlterConfigs";
        } catch (ClassNotFoundException e) {
            change = Class.forName(in + "Config").getConstructor(Collection.class)
                .newInstance(Collections.singleton(entry));
            method = "alterConfigs";
        }
        Map<ConfigResource, Object> changes = new HashMap<>();
        changes.put(resource, change);
        Object result = call(AdminClient.class.getMethod(method, Map.class), admin, changes);
        return (KafkaFuture<?>) call(result.getClass().getMethod("all"), result);
    }

    /** describeMetadataQuorum since 3.3. */
    static KafkaFuture<?> quorum(AdminClient admin) throws Exception {
        Method describe;
        try {
            describe = AdminClient.class.getMethod("describeMetadataQuorum");
        } catch (NoSuchMethodException e) {
            throw new Result.NotOffered("this version has no describeMetadataQuorum");
        }
        Object result = call(describe, admin);
        return (KafkaFuture<?>) call(result.getClass().getMethod("quorumInfo"), result);
    }

    /** Calls a method, and throws the method's own exception. */
    private static Object call(Method method, Object of, Object... args) throws Exception {
        try {
            method.setAccessible(true);
            return method.invoke(of, args);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof Error) {
                throw (Error) e.getCause();
            }
            throw (Exception) e.getCause();
        }
    }
}

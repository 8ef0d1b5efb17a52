import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.CreateDelegationTokenOptions;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ExpireDelegationTokenOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RenewDelegationTokenOptions;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.security.token.delegation.DelegationToken;

/** The works of an AdminClient, step by step. */
final class Admin {
    private static final long SETTLE = 10000; // brokers learn of a change one after the other

    private final Options o;
    private final Result r;
    private final AdminClient admin;
    private final StringBuilder failed = new StringBuilder();

    private Admin(Options o, Result r, AdminClient admin) {
        this.o = o;
        this.r = r;
        this.admin = admin;
    }

    static void addresses(Options o, Result r) throws Exception {
        try (AdminClient admin = AdminClient.create(Config.common(o))) {
            for (Node node : admin.describeCluster().nodes().get(o.left(), TimeUnit.MILLISECONDS)) {
                r.address(node.host() + ":" + node.port());
            }
        }
    }

    static void admin(Options o, Result r) throws Exception {
        try (AdminClient admin = AdminClient.create(Config.common(o))) {
            admin.describeCluster().nodes().get(o.left(), TimeUnit.MILLISECONDS); // a refused login fails here
            new Admin(o, r, admin).steps();
        }
    }

    private <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(o.left(), TimeUnit.MILLISECONDS);
    }

    private void steps() throws Exception {
        String topic = o.get("topic");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        step("create_topic", () -> {
            NewTopic t = new NewTopic(topic, 3, (short) o.number("replication"));
            get(admin.createTopics(Collections.singleton(t)).all());
            return "";
        });
        look("describe_topic", () -> partitions(3));
        look("describe_cluster", () -> {
            DescribeClusterResult cluster = admin.describeCluster();
            return get(cluster.nodes()).size() + " brokers, controller " + get(cluster.controller()).id();
        });
        step("alter_config", () -> {
            get(Optional.alterConfig(admin, resource, "retention.ms", "7200000"));
            return "";
        });
        look("describe_configs", () -> {
            String value = get(admin.describeConfigs(Collections.singleton(resource)).all())
                .get(resource).get("retention.ms").value();
            return expect(value, "7200000");
        });
        step("add_partitions", () -> {
            Map<String, NewPartitions> more = new HashMap<>();
            more.put(topic, NewPartitions.increaseTo(5));
            get(admin.createPartitions(more).all());
            return "";
        });
        look("added_partitions", () -> partitions(5));
        look("list_topics", () -> {
            Collection<String> names = get(admin.listTopics().names());
            expect("" + names.contains(topic), "true");
            return "" + names.size();
        });
        groupSteps();
        look("metadata_quorum", () -> {
            try {
                return "" + get(Optional.quorum(admin));
            } catch (java.util.concurrent.ExecutionException e) {
                if (e.getCause() instanceof UnsupportedVersionException) {
                    throw new Result.NotOffered("the broker has no quorum: " + Result.why(e));
                }
                throw e;
            }
        });
        step("delete_topic", () -> {
            get(admin.deleteTopics(Collections.singleton(topic)).all());
            return "";
        });
        check();
    }

    private String partitions(int want) throws Exception {
        String topic = o.get("topic");
        int got = get(Optional.describeTopics(admin, topic)).get(topic).partitions().size();
        return expect("" + got, "" + want) + " partitions";
    }

    private static String expect(String got, String want) throws Exception {
        if (!got.equals(want)) {
            throw new Exception("got " + got + ", want " + want);
        }
        return got;
    }

    private void groupSteps() {
        TreeSet<String> groups = new TreeSet<>();
        look("list_groups", () -> {
            for (ConsumerGroupListing g : get(admin.listConsumerGroups().all())) {
                groups.add(g.groupId());
            }
            return "" + groups.size();
        });
        String group = o.get("group").isEmpty() && !groups.isEmpty() ? groups.first() : o.get("group");
        look("describe_group", () -> group.isEmpty() ? "there is no group"
            : "" + get(admin.describeConsumerGroups(Collections.singleton(group)).all()).get(group).state());
    }

    static void token(Options o, Result r) throws Exception {
        try (AdminClient admin = AdminClient.create(Config.common(o))) {
            new Admin(o, r, admin).tokenSteps();
        }
    }

    private void tokenSteps() throws Exception {
        DelegationToken[] token = new DelegationToken[1];
        step("create_token", () -> {
            CreateDelegationTokenOptions hour = new CreateDelegationTokenOptions().maxlifeTimeMs(3600000);
            token[0] = get(admin.createDelegationToken(hour).delegationToken());
            return token[0].tokenInfo().owner().getName();
        });
        if (token[0] != null) {
            byte[] hmac = token[0].hmac();
            look("describe_tokens", () -> {
                int n = get(admin.describeDelegationToken().delegationTokens()).size();
                expect("" + (n > 0), "true");
                return "" + n;
            });
            look("renew_token", () -> {
                RenewDelegationTokenOptions hour = new RenewDelegationTokenOptions().renewTimePeriodMs(3600000);
                get(admin.renewDelegationToken(hmac, hour).expiryTimestamp());
                return "";
            });
            step("expire_token", () -> {
                ExpireDelegationTokenOptions now = new ExpireDelegationTokenOptions().expiryTimePeriodMs(-1);
                get(admin.expireDelegationToken(hmac, now).expiryTimestamp());
                return "";
            });
        }
        check();
    }

    private void step(String name, Callable<String> step) {
        try {
            String found = step.call();
            r.detail(name, found.isEmpty() ? "ok" : "ok: " + found);
        } catch (Result.NotOffered e) {
            r.detail(name, "not offered: " + e.getMessage());
        } catch (Exception e) {
            r.detail(name, "failed: " + Result.why(e));
            failed.append(failed.length() == 0 ? "" : "; ").append(name).append(": ").append(Result.why(e));
        }
    }

    /** A step that only reads, and is tried again while it fails. */
    private void look(String name, Callable<String> step) {
        long end = System.currentTimeMillis() + Math.min(SETTLE, o.left());
        step(name, () -> {
            while (true) {
                try {
                    return step.call();
                } catch (Result.NotOffered e) {
                    throw e;
                } catch (Exception e) {
                    if (System.currentTimeMillis() > end) {
                        throw e;
                    }
                    Thread.sleep(200);
                }
            }
        });
    }

    private void check() throws Exception {
        if (failed.length() > 0) {
            throw new Exception(failed.toString());
        }
    }
}

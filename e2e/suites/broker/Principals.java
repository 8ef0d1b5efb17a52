import org.apache.kafka.common.security.auth.AuthenticationContext;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder;

/** Tells brokers and controllers, which may do everything, from clients, which ACLs can deny something. */
public class Principals extends DefaultKafkaPrincipalBuilder {
    public Principals() {
        super(null, null);
    }

    @Override
    public KafkaPrincipal build(AuthenticationContext context) {
        String listener = context.listenerName();
        if (listener.equals("INTERNAL") || listener.equals("CONTROLLER")) {
            return new KafkaPrincipal(KafkaPrincipal.USER_TYPE, "broker");
        }
        return super.build(context);
    }
}

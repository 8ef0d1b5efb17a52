package config

import "testing"

// A part that the program does not link is a mistake of the configuration that needs it.
func TestPartsThatAreNotLinked(t *testing.T) {
	c := valid()
	c.Clusters[0].SASL = &SASL{Mechanism: "AWS_MSK_IAM"}
	if err := c.Validate(); err != nil {
		t.Errorf("with all parts: got %v", err)
	}
	c.Parts = Parts{}
	c.Clusters[1].Via = Via{URL: "ssh://me@bastion", PasswordFile: "parts_test.go"}
	const want = "clusters.orders.sasl.mechanism: this program does not link AWS_MSK_IAM; use a kproxy that is built without the tag small, or set Parts.AWS of its config.Config to aws.Source of package proxy/aws\n" +
		"clusters.audit.via: this program does not link ssh; set Parts.SSH of its config.Config to ssh.Hop of package proxy/ssh"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

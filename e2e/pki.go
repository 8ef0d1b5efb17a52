//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"slices"

	"kproxy/internal/certlab"
)

// pki are the certificates of the brokers' TLS listeners, which ask their clients
// for one of the same authority.
type pki struct {
	folder    certlab.Folder
	authority *certlab.Authority
	ca        string // the authority's file
	keystores []string
}

// newPKI writes them to a directory.
func newPKI(dir string) (k *pki, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("make certificates: %v", failed)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := noTest{dir}
	k = &pki{folder: certlab.Folder(dir), authority: certlab.NewAuthority(t, "brokers")}
	k.ca = k.folder.Write(t, "ca.pem", k.authority.PEM)
	for id := range brokerCount {
		broker := k.authority.Issue(t, nil, brokerHost(id+1))
		k.keystores = append(k.keystores, k.folder.Write(t, fmt.Sprintf("broker-%d.pem", id+1), slices.Concat(broker.KeyPEM, broker.CertPEM)))
	}
	return k, nil
}

// properties are those of a broker's TLS listener.
func (k *pki) properties(id int) map[string]string {
	properties := map[string]string{}
	for key, value := range map[string]string{
		"keystore.type":       "PEM",
		"keystore.location":   k.keystores[id-1],
		"truststore.type":     "PEM",
		"truststore.location": k.ca,
		"client.auth":         "required",
	} {
		properties["listener.name.secure.ssl."+key] = value
	}
	return properties
}

// noTest stands for a test where there is none yet. It panics where a test would
// fail.
type noTest struct{ dir string }

func (noTest) Helper()           {}
func (noTest) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (n noTest) TempDir() string { return n.dir }

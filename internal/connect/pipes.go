package connect

import (
	"context"

	"kproxy/internal/files"
)

// KeepPipes copies the files of TLS that are pipes, such as those of a shell's <(command): they
// are read for each proxy, and a pipe can be read once. The caller calls remove when the files are
// not needed any more. Only the user can read them.
func (o *Options) KeepPipes(ctx context.Context) (remove func(), err error) {
	kept := &Client{}
	if o.TLS == nil {
		return kept.Close, nil
	}
	secure := *o.TLS
	o.Piped = map[string]string{}
	for name, file := range map[string]*string{"ca.pem": &secure.CA, "cert.pem": &secure.Cert, "key.pem": &secure.Key} {
		if *file == "" || !files.IsPipe(ctx, *file) {
			continue
		}
		data, err := files.ReadArgument(ctx, *file, maxFile)
		if err != nil {
			kept.Close()
			return nil, err
		}
		copied, err := kept.write(name, data)
		if err != nil {
			kept.Close()
			return nil, err
		}
		o.Piped[copied], *file = *file, copied
	}
	o.TLS = &secure
	return kept.Close, nil
}

package connect

import (
	"context"
	"errors"
	"os/exec"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/doctor"
	"kproxy/proxy"
)

// askFirst sends the first request on a connection. If a command of --via has ended before it
// read the request, the error is the command's failure: reading returns it, and writing does
// not.
func (a asker) askFirst(ctx context.Context, i *proxy.Inquiry, req kmsg.Request, into kmsg.Response) error {
	err := i.Ask(ctx, req, into)
	if a.Via.URL == "" || !errors.Is(err, syscall.EPIPE) {
		return err
	}
	_, ended := i.Conn().Read(make([]byte, 1))
	if _, failed := errors.AsType[*exec.ExitError](ended); failed {
		return ended
	}
	return err
}

// brokersBy asks for the brokers, on a connection that has responded to ApiVersions already:
// an error after that is not about the port's protocol.
func brokersBy(ctx context.Context, i *proxy.Inquiry) (*kmsg.MetadataResponse, error) {
	metadata, err := i.Brokers(ctx)
	switch {
	case err == nil || errors.Is(err, proxy.ErrNeedsLogin):
		return metadata, err
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return nil, &doctor.AnsweredError{Err: err}
}

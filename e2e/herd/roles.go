//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"kproxy/e2e/lab"
)

// roleKey is the environment variable that makes this program one of its children.
const roleKey = "KPROXY_HERD_ROLE"

// playRole plays the role that the process was started for, if for one. A child reads
// commands from its standard input, a line of JSON each, and writes a line for each; the
// end of the input ends the child.
func playRole() (played bool, err error) {
	role := os.Getenv(roleKey)
	if role == "" {
		return false, nil
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	switch role {
	case brokerRole:
		return true, serveBroker(in, out)
	case probesRole:
		return true, serveProbes(in, out)
	case crowdRole:
		return true, serveCrowd(in, out)
	case visitsRole:
		return true, serveVisits(in, out)
	case viewerRole:
		return true, serveViewer(in, out)
	default:
		return true, fmt.Errorf("no such role: %q", role)
	}
}

// child is this program in another process, so that the herd's own thousands of
// goroutines delay neither measurements nor requests.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	to  *json.Encoder
	out *json.Decoder
}

// startChild starts a child with a role. The owner must close it.
func startChild(ctx context.Context, role string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: lab.Command(ctx, self)}
	c.cmd.Env = append(os.Environ(), roleKey+"="+role)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.to, c.out = json.NewEncoder(c.in), json.NewDecoder(out)
	if err := lab.Start(c.cmd); err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, err)
	}
	return c, nil
}

// ask sends the child a command, and reads its reply.
func (c *child) ask(question, response any) error {
	if err := c.to.Encode(question); err != nil {
		return err
	}
	return c.out.Decode(response)
}

// childEnds is how long a child has to end.
const childEnds = 10 * time.Second

func (c *child) close() error {
	if c == nil {
		return nil
	}
	kill := time.AfterFunc(childEnds, func() { _ = c.cmd.Cancel() })
	defer kill.Stop()
	return errors.Join(c.in.Close(), c.cmd.Wait())
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"compatclients/internal/contract"
)

// leaving is the time for a kcat to commit and to leave.
const leaving = 4 * time.Second

// consume is one member: a kcat -G, which leaves on a signal.
func consume(ctx context.Context, o *contract.Options, instance string, each func([]byte)) error {
	if _, err := list(ctx, o); err != nil {
		return err
	}
	args := flags(o, "-E", "-u", "-f", `%s\n`,
		"-X", "auto.offset.reset=earliest",
		"-X", "isolation.level=read_"+o.Isolation,
		"-X", "auto.commit.interval.ms=500")
	if o.Rack != "" {
		args = append(args, "-X", "client.rack="+o.Rack)
	}
	if instance != "" {
		args = append(args, "-X", "group.instance.id="+instance)
	}
	if o.Protocol == "consumer" {
		args = append(args, "-X", "group.protocol=consumer")
	}
	if o.MaxBytes > 0 {
		args = append(args, "-X", fmt.Sprintf("fetch.max.bytes=%d", o.MaxBytes),
			"-X", fmt.Sprintf("max.partition.fetch.bytes=%d", o.MaxBytes),
			"-X", fmt.Sprintf("receive.message.max.bytes=%d", 2*o.MaxBytes))
	}
	args = append(args, "-G", o.Group, o.Topic)

	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, "kcat", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = leaving
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(stdout, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil { // kcat has ended
			break
		}
		each(line[:len(line)-1])
	}
	err = cmd.Wait()
	fmt.Fprint(os.Stderr, stderr.String())
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(why(stderr.String()), err)
}

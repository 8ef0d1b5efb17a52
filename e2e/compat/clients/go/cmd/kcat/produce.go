package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"compatclients/internal/contract"
)

// headroom is the size of a record's batch and request without its value.
const headroom = 64 << 10

// inputBlock is the block size in which kcat reads its input. Records that are to be sent
// at once, and not with those that follow, are padded to it. Even so kcat reports each
// only when the next one comes, or the end.
const inputBlock = 1 << 10

// producer is a kcat -P. It reports for every record whether it was stored, but not for
// which one: the oldest one without a report is taken.
type producer struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines int        // the length of each is a multiple of this
	ended chan error // kcat's exit error, once

	mu      sync.Mutex
	waiting []func(error)
	stderr  strings.Builder // output that is not about one record
}

func produceFlags(o *contract.Options) []string {
	return flags(o, "-P", "-t", o.Topic, "-K", "\t", "-z", o.Compression, "-vvv", "-E",
		"-X", "acks="+o.Acks,
		"-X", fmt.Sprintf("enable.idempotence=%v", o.Idempotent),
		"-X", fmt.Sprintf("message.max.bytes=%d", max(1000000, o.Size+headroom)),
		"-X", fmt.Sprintf("queue.buffering.max.kbytes=%d", 1<<20),
		"-X", fmt.Sprintf("message.timeout.ms=%d", max(5*time.Second, o.Timeout-2*time.Second).Milliseconds()))
}

func newProducer(ctx context.Context, o *contract.Options) (contract.Producer, error) {
	if _, err := list(ctx, o); err != nil {
		return nil, err
	}
	if o.Rate > 0 || o.Work != "produce" {
		return start(ctx, inputBlock, produceFlags(o))
	}
	return start(ctx, 1, produceFlags(o))
}

func start(ctx context.Context, lines int, args []string) (*producer, error) {
	p := &producer{lines: lines, cmd: exec.CommandContext(ctx, "kcat", args...), ended: make(chan error, 1)}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.listen(stderr)
	return p, nil
}

// listen ends with kcat.
func (p *producer) listen(stderr io.Reader) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "% Message delivered"):
			p.answer(nil)
		case strings.HasPrefix(line, "% Delivery failed for message"):
			p.answer(errors.New(line))
		default:
			p.mu.Lock()
			p.stderr.WriteString(line + "\n")
			p.mu.Unlock()
		}
	}
	err := p.cmd.Wait()
	if err != nil {
		err = errors.Join(why(p.said()), err)
	}
	p.ended <- err
}

func (p *producer) answer(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 {
		p.waiting[0](err)
		p.waiting = p.waiting[1:]
	}
}

// Said is kcat's output about authorization apart from records: librdkafka's error
// callback prints it.
func (p *producer) Said() string {
	for line := range strings.Lines(p.said()) {
		if strings.Contains(line, "uthoriz") && strings.Contains(line, "ERROR") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func (p *producer) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

func (p *producer) Send(_ context.Context, key, value []byte, done func(error)) {
	p.mu.Lock()
	p.waiting = append(p.waiting, done)
	p.mu.Unlock()
	line := slices.Concat(key, []byte{'\t'}, value)
	if over := (len(line) + 1) % p.lines; over > 0 {
		line = append(line, bytes.Repeat([]byte{'.'}, p.lines-over)...)
	}
	_, _ = p.stdin.Write(append(line, '\n')) // it fails when kcat has ended, and kcat's error is the reason
}

func (p *producer) Close(context.Context) error {
	_ = p.stdin.Close() // a kcat that has ended has closed it
	return <-p.ended    // which it is when ctx ends, too
}

// onTheirWay is the time for records to leave, so that there is something to abort: kcat
// reports nothing about them before its input goes on.
const onTheirWay = 300 * time.Millisecond

// transaction runs one kcat for each transaction. The end of its input commits;
// a signal before that aborts.
func transaction(ctx context.Context, o *contract.Options, r *contract.Result) error {
	o.Acks, o.Idempotent = "all", true
	args := append(produceFlags(o), "-m", "30", "-X", "transactional.id="+o.TransactionalID)
	return contract.Transactions(o, r, func(records []contract.Record, commit bool) error {
		p, err := start(ctx, inputBlock, args)
		if err != nil {
			return err
		}
		for _, rec := range records {
			p.Send(ctx, rec.Key, rec.Value, func(error) {})
		}
		if commit {
			return p.Close(ctx)
		}
		time.Sleep(onTheirWay)
		if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
			return err
		}
		_ = p.Close(ctx) // kcat handles the signal when its read ends, and then fails or not
		if !strings.Contains(p.said(), "Aborting transaction") {
			return fmt.Errorf("kcat did not abort its transaction: %w", why(p.said()))
		}
		return nil
	})
}

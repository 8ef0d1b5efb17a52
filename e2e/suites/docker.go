//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// sarama's tests stop and start brokers by `docker compose stop kafka-1`. Here the
// program of that name is this one, by a link: it passes its arguments to the run that
// has the brokers.
const (
	dockerName   = "docker"
	dockerSocket = "SUITES_DOCKER_SOCKET"
)

// docker is the program: it prints the response to its arguments.
func docker(args []string) (code int) {
	conn, err := new(net.Dialer).DialContext(context.Background(), "unix", os.Getenv(dockerSocket))
	if err != nil {
		fmt.Fprintln(os.Stderr, "docker:", err)
		return 1
	}
	defer conn.Close()
	fmt.Fprintln(conn, strings.Join(args, " "))
	response, err := io.ReadAll(conn)
	if err != nil || len(response) > 0 {
		fmt.Fprintf(os.Stderr, "docker: %s\n", errors.Join(err, errors.New(string(response))))
		return 1
	}
	return 0
}

// serveDocker carries out the program's requests until the returned function is called.
func (k *toxicKafka) serveDocker(dir string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(self, filepath.Join(dir, dockerName)); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		return nil, err
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			line, err := bufio.NewReader(io.LimitReader(conn, 1024)).ReadString('\n')
			if err == nil {
				err = k.compose(strings.Fields(line))
			}
			if err != nil {
				fmt.Fprint(conn, err)
			}
			conn.Close()
		}
	})
	return func() { l.Close(); serving.Wait() }, nil
}

// compose is `docker compose stop|start kafka-N`.
func (k *toxicKafka) compose(args []string) error {
	var id int32
	if len(args) == 3 && args[0] == "compose" {
		if _, err := fmt.Sscanf(args[2], "kafka-%d", &id); err == nil && id >= 1 && id <= saramaBrokers {
			switch b := k.cluster.Broker(id); args[1] {
			case "stop":
				return b.Stop()
			case "start":
				return b.Start()
			}
		}
	}
	return fmt.Errorf("the program in place of docker does not know %q", strings.Join(args, " "))
}
